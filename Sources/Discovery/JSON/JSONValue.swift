/// A JSON value that keeps what it was read from: numbers stay text and members stay in order.
///
/// Instance ids go up to 2^64-1 and client requests carry numbers that must not change on their way through, so no number
/// passes through a double here.
package enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    /// The number as written.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object(JSONFields)

    package init(_ value: some BinaryInteger) { self = .number(String(value)) }

    /// The text of a string; nil for everything else.
    package var string: String? { if case .string(let value) = self { value } else { nil } }

    package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

    package var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }

    package var object: JSONFields? { if case .object(let value) = self { value } else { nil } }

    /// The number, if it is an integer in the range of an unsigned 64-bit number.
    package var uint64: UInt64? { if case .number(let text) = self { UInt64(text) } else { nil } }

    package var int: Int? { if case .number(let text) = self { Int(text) } else { nil } }

    package var double: Double? { if case .number(let text) = self { Double(text) } else { nil } }

    package var isNull: Bool { self == .null }

    /// The member of an object; nil when this is no object or has no such member.
    package subscript(_ name: String) -> JSONValue? { self.object?[name] }

    /// What kind of value this is, in the words of an error message.
    package var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

/// The members of a JSON object in the order in which they were written.
package struct JSONFields: Sendable, Hashable {
    package struct Member: Sendable, Hashable {
        package var name: String
        package var value: JSONValue

        package init(_ name: String, _ value: JSONValue) {
            self.name = name
            self.value = value
        }
    }

    package private(set) var members: [Member]

    package init(_ members: [Member] = []) { self.members = members }

    init(capacity: Int) {
        self.members = []
        self.members.reserveCapacity(capacity)
    }

    /// The member's value; of two members with one name the last counts.
    ///
    /// Setting nil removes every member of that name.
    package subscript(_ name: String) -> JSONValue? {
        get { self.members.last { $0.name == name }?.value }
        set {
            guard let newValue else {
                self.members.removeAll { $0.name == name }
                return
            }
            if let index = self.members.lastIndex(where: { $0.name == name }) {
                self.members[index].value = newValue
            } else {
                self.members.append(Member(name, newValue))
            }
        }
    }

    /// Adds a member without looking for an earlier one of that name.
    package mutating func append(_ name: String, _ value: JSONValue) { self.members.append(Member(name, value)) }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(integerLiteral value: Int) { self = .number(String(value)) }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(JSONFields(elements.map { JSONFields.Member($0.0, $0.1) }))
    }
    package init(nilLiteral: ()) { self = .null }
}
