/// A line with which a program says that it could not have an address.
struct AddressInUse: Sendable, Hashable {
    /// The numbers of the line that may be ports.
    var numbers: Set<Int>

    /// What operating systems, Python, ZeroMQ, Rust, Go, Java, Node.js and C++ say, in lower case.
    private static let phrases = [
        "address already in use", "eaddrinuse", "address in use", "addrinuse", "connection in use:",
    ]
    /// The error by its number, where its text is left out or translated.
    private static let errors = [
        "errno 98", "errno: 98", "errno=98", "errno = 98", "error 98", "error: 98", "code: 98",
    ]

    /// - Returns: nil: the line does not say so.
    init?(line: String) {
        let text = line.lowercased()
        let says =
            Self.phrases.contains { text.firstRange(of: $0) != nil } || Self.errors.contains { Self.ends($0, in: text) }
            || text.firstRange(of: "port") != nil && text.firstRange(of: "already in use") != nil
        guard says else { return nil }
        self.numbers = Set(
            text.split { !($0.isASCII && $0.isNumber) }.compactMap { Int($0) }.filter { (1...65535).contains($0) }
        )
    }

    /// Whether the text has the phrase, and its number ends there: 98 is not 987.
    private static func ends(_ phrase: String, in text: String) -> Bool {
        text.ranges(of: phrase).contains { range in
            guard range.upperBound < text.endIndex else { return true }
            return !text[range.upperBound].isNumber
        }
    }

    /// The ports that a run complains of.
    ///
    /// - Parameters:
    ///   - lines: what it wrote.
    ///   - ports: its own.
    /// - Returns: those that a line names; all of them when such lines name none; none when there is no such line.
    static func ports(in lines: [String], of ports: [Int]) -> [Int] {
        let found = lines.compactMap { Self(line: $0) }
        let named = ports.filter { port in found.contains { $0.numbers.contains(port) } }
        return found.isEmpty ? [] : named.isEmpty ? ports : named
    }
}
