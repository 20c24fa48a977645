package import OrderedCollections
internal import Yams

/// The keys of a mapping and their values, in order.
package typealias KeyedYAML = OrderedDictionary<String, YAMLValue>

/// A value to be written as YAML, whose texts come back as the same texts whatever they look like.
package indirect enum YAMLValue: Sendable, Hashable {
    case text(String)
    case number(Int)
    case boolean(Bool)
    case list([YAMLValue])
    case keyed(KeyedYAML)

    /// A list of texts.
    package static func texts(_ texts: some Sequence<String>) -> Self { .list(texts.map(Self.text)) }

    /// A mapping of texts, sorted by key.
    package static func texts(_ texts: [String: String]) -> Self {
        .keyed(KeyedYAML(uniqueKeysWithValues: texts.sorted { $0.key < $1.key }.map { ($0.key, .text($0.value)) }))
    }

    /// As a document, without a line that separates it from others.
    package var document: String {
        // It fails only for what cannot be represented, which this type has none of.
        (try? Yams.serialize(node: self.node, width: -1, allowUnicode: true)) ?? ""
    }

    /// Several documents in one text.
    package static func documents(_ values: [YAMLValue]) -> String {
        values.map(\.document).joined(separator: "---\n")
    }

    private var node: Node {
        switch self {
        case .text(let text): .scalar(Self.scalar(text))
        case .number(let number): .scalar(Node.Scalar(String(number), Tag(.int)))
        case .boolean(let value): .scalar(Node.Scalar(value ? "true" : "false", Tag(.bool)))
        case .list(let items):
            .sequence(Node.Sequence(items.map(\.node), Tag(.seq), items.isEmpty ? .flow : .block))
        case .keyed(let fields):
            .mapping(
                Node.Mapping(
                    fields.map { (.scalar(Self.scalar($0.key)), $0.value.node) },
                    Tag(.map),
                    fields.isEmpty ? .flow : .block
                )
            )
        }
    }

    /// Plain only where every reader of YAML sees a text; lines as a block where that keeps them exactly.
    private static func scalar(_ text: String) -> Node.Scalar {
        if YAMLText.isPlain(text) { return Node.Scalar(text, Tag(.str), .plain) }
        let isBlock =
            text.contains("\n") && text.hasSuffix("\n") && !text.hasPrefix(" ") && !text.hasPrefix("\n")
            && !text.hasSuffix("\n\n")
            && text.unicodeScalars.allSatisfy { $0 == "\n" || $0.value >= 0x20 && $0.value < 0x7F }
        return Node.Scalar(text, Tag(.str), isBlock ? .literal : .doubleQuoted)
    }
}

extension YAMLValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByStringInterpolation
{
    package init(stringLiteral value: String) { self = .text(value) }
    package init(integerLiteral value: Int) { self = .number(value) }
    package init(booleanLiteral value: Bool) { self = .boolean(value) }
    package init(arrayLiteral elements: YAMLValue...) { self = .list(elements) }
    package init(dictionaryLiteral elements: (String, YAMLValue)...) {
        self = .keyed(KeyedYAML(uniqueKeysWithValues: elements))
    }
}
