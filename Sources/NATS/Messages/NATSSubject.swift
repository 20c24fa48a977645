/// The rules for subjects, checked before the C library sees them: it would put a line break on the wire as it is.
enum NATSSubject {
    /// - Parameter subject: where to publish: tokens with dots between, no wildcards.
    /// - Throws: `NATSError` for a subject that the server would not take.
    static func validatePublished(_ subject: String) throws(NATSError) {
        try self.validate(subject, allowsWildcards: false)
    }

    /// - Parameter subject: what to subscribe to; `*` stands for one token, `>` at the end for one or more.
    /// - Throws: `NATSError` for a subject that the server would not take.
    static func validateSubscribed(_ subject: String) throws(NATSError) {
        try self.validate(subject, allowsWildcards: true)
    }

    /// - Parameter name: the name of a queue group.
    /// - Throws: `NATSError` for a name that the server would not take.
    static func validateQueueGroup(_ name: String) throws(NATSError) {
        guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            throw NATSError(
                .invalidArgument,
                "'\(Printable.text(name))' cannot be a NATS queue group: it must not be empty or have spaces"
            )
        }
    }

    private static func validate(_ subject: String, allowsWildcards: Bool) throws(NATSError) {
        func invalid(_ reason: String) -> NATSError {
            NATSError(.invalidArgument, "'\(Printable.text(subject))' cannot be a NATS subject: \(reason)")
        }
        // One pass without memory: it is made for each message.
        var (size, wildcard) = (0, UInt8?.none)
        var isAfterRest = false
        func endPart() throws(NATSError) {
            guard size > 0 else { throw invalid("a part between dots is empty") }
            guard !isAfterRest else { throw invalid("'>' may only stand at the end") }
            guard size == 1, let mark = wildcard else { return }
            guard allowsWildcards else { throw invalid("one cannot publish to a wildcard") }
            isAfterRest = mark == UInt8(ascii: ">")
        }
        for byte in subject.utf8 {
            guard byte > 0x20, byte != 0x7F else { throw invalid("it has spaces or control bytes") }
            guard byte == UInt8(ascii: ".") else {
                size += 1
                if byte == UInt8(ascii: "*") || byte == UInt8(ascii: ">") { wildcard = byte }
                continue
            }
            try endPart()
            (size, wildcard) = (0, nil)
        }
        try endPart()
    }
}
