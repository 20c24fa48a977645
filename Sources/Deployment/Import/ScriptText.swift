/// What a word becomes, as a manifest writes it.
struct ScriptText: Sendable, Hashable {
    /// With `${NAME:-default}` for what the script takes from its caller.
    var text: String
    /// The text itself, when nothing of it comes from the caller.
    var plain: String?
    /// What it is when the caller sets nothing; nil: not known.
    var assumed: String?
    /// Why it cannot be known without running the script.
    var unknown: [String] = []
    /// Where the arguments of the script's caller go.
    var isPassthrough = false

    init(text: String, plain: String?, assumed: String?, unknown: [String] = []) {
        self.text = text
        self.plain = plain
        self.assumed = assumed
        self.unknown = unknown
    }

    /// A text that means only itself.
    init(literal: String) {
        self.init(
            text: literal.replacing("$", with: "$$").replacing("{{", with: "{{'{{'}}"),
            plain: literal,
            assumed: literal
        )
    }

    static let passthrough: Self = {
        var text = Self(literal: "")
        text.isPassthrough = true
        return text
    }()

    static func + (first: Self, second: Self) -> Self {
        func both(_ a: String?, _ b: String?) -> String? { a.flatMap { a in b.map { a + $0 } } }
        var result = Self(
            text: first.text + second.text,
            plain: both(first.plain, second.plain),
            assumed: both(first.assumed, second.assumed),
            unknown: first.unknown + second.unknown
        )
        result.isPassthrough = first.isPassthrough || second.isPassthrough
        return result
    }
}
