/// The headers of a message.
///
/// Names are case-sensitive, as the server treats them. The order of different names is not kept on the way. Avoid empty values:
/// libnats 3.4 sends them correctly, but as a receiver takes the following line for the value.
package struct NATSHeaders: Sendable, Hashable, ExpressibleByDictionaryLiteral {
    package private(set) var fields: [Field]

    package struct Field: Sendable, Hashable {
        package var name: String
        package var value: String
    }

    package init() { self.fields = [] }

    package init(dictionaryLiteral elements: (String, String)...) {
        self.fields = elements.map { Field(name: $0.0, value: $0.1) }
    }

    package var isEmpty: Bool { self.fields.isEmpty }

    /// Adds a value; a name may have several.
    package mutating func add(_ name: String, _ value: String) { self.fields.append(Field(name: name, value: value)) }

    /// The first value of a name.
    ///
    /// Setting replaces all of them.
    package subscript(name: String) -> String? {
        get { self.fields.first { $0.name == name }?.value }
        set {
            self.fields.removeAll { $0.name == name }
            if let newValue { self.add(name, newValue) }
        }
    }

    /// All values of a name.
    package func values(_ name: String) -> [String] { self.fields.filter { $0.name == name }.map(\.value) }

    /// Bytes on the wire, which count against the server's limit like the payload does.
    package var encodedSize: Int {
        // "NATS/1.0\r\n", then "name: value\r\n" each, then "\r\n".
        self.isEmpty ? 0 : self.fields.reduce(12) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
    }

    /// - Throws: `NATSError` for what would break out of a header line.
    package func validate() throws(NATSError) {
        for field in self.fields {
            let name = field.name.utf8
            guard !name.isEmpty, name.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") }) else {
                throw NATSError(
                    .invalidArgument,
                    "'\(Printable.text(field.name))' cannot be the name of a header: it must be printable ASCII "
                        + "without spaces and colons"
                )
            }
            guard field.value.utf8.allSatisfy({ $0 != 0 && $0 != 0x0D && $0 != 0x0A }) else {
                throw NATSError(
                    .invalidArgument,
                    "the value of the header '\(field.name)' has a line break or a zero byte, which NATS cannot send"
                )
            }
        }
    }
}
