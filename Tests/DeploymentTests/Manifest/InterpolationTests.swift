import Testing

@testable import Deployment

@Suite struct InterpolationTests {
    private func resolve(
        _ text: String,
        _ environment: [String: String] = [:]
    ) -> (text: String?, errors: [String], isSecret: Bool) {
        var interpolation = Interpolation(environment: environment)
        let node = ManifestNode(location: Location(file: "f", line: 1, column: 1), content: .scalar(.init(text: text)))
        let resolved = interpolation.resolve(node)
        let errors = interpolation.diagnostics.map(\.message)
        guard case .scalar(let scalar) = resolved.content else { return (nil, errors, false) }
        return (scalar.text, errors, scalar.isSecret)
    }

    @Test(arguments: [
        ("plain", "plain"), ("${A}", "1"), ("a${A}b${B}c", "a1b2c"), ("${EMPTY}", ""), ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${NO:-x}", "x"), ("${NO-x}", "x"), ("${NO:-}", ""), ("${A:-x}", "1"), ("${A:?m}", "1"), ("${EMPTY?m}", ""),
        ("$$", "$"),
        ("$${A}", "${A}"), ("$$$${A}", "$${A}"), ("a$", "a$"), ("^x$", "^x$"), ("$1", "$1"), ("${NO:-${A}}", "1"),
        ("${NO:-${NO2:-deep}}", "deep"), ("${A:-${NO}}", "1"), ("${NO:-a b}", "a b"), ("{\"a\":1}", "{\"a\":1}"),
        ("${NO:-$$}", "$"), ("${A:+x}", "x"), ("${EMPTY:+x}", ""), ("${EMPTY+x}", "x"), ("${NO:+${NO2}}", ""),
        ("${A:+${B}}", "2"),
    ])
    func replaces(_ text: String, _ expected: String) {
        let result = self.resolve(text, ["A": "1", "B": "2", "EMPTY": ""])
        #expect(result.text == expected)
        #expect(result.errors.isEmpty)
    }

    @Test(arguments: [
        ("${NO}", "the variable 'NO' is not set"), ("${NO:?tell me}", "the variable 'NO' is not set: tell me"),
        ("${EMPTY:?tell me}", "the variable 'EMPTY' is empty: tell me"),
        ("${NO", "'${NO' is followed by '', which is no known form"),
        ("${NO:-a", "'${' without its '}'"), ("${A:-${B}", "'${' without its '}'"),
        ("$HOME", "'$HOME' is not replaced: a variable is written in braces"),
        ("${1}", "'${' is not followed by a variable's name"),
        ("${A!}", "'${A' is followed by '!', which is no known form"),
    ])
    func refuses(_ text: String, _ message: String) {
        let result = self.resolve(text, ["A": "1", "EMPTY": ""])
        #expect(result.text == nil)
        #expect(result.errors == [message])
    }

    @Test func remembersWhatItUsedAndWhatIsSecret() {
        var interpolation = Interpolation(environment: ["HF_TOKEN": "abc"])
        let location = Location(file: "f")
        let tree = ManifestNode(
            location: location,
            content: .sequence([
                ManifestNode(location: location, content: .scalar(.init(text: "${HF_TOKEN}"))),
                ManifestNode(location: location, content: .scalar(.init(text: "${OTHER:-x}"))),
            ])
        )
        _ = interpolation.resolve(tree)
        #expect(interpolation.variables == ["HF_TOKEN", "OTHER"])
        #expect(self.resolve("${HF_TOKEN}", ["HF_TOKEN": "abc"]).isSecret)
        #expect(self.resolve("${NO:-${HF_TOKEN}}", ["HF_TOKEN": "abc"]).isSecret)
        #expect(!self.resolve("${A:-${HF_TOKEN}}", ["A": "1", "HF_TOKEN": "abc"]).isSecret)
    }

    /// A default that is not used need not be set, and what comes out of a variable is not read again.
    @Test func valuesAreNotReadAgain() {
        #expect(self.resolve("${A}", ["A": "${B}"]).text == "${B}")
    }
}
