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
        guard subject.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            throw invalid("it has spaces or control bytes")
        }
        let tokens = subject.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        for (index, token) in tokens.enumerated() {
            guard !token.isEmpty else { throw invalid("a part between dots is empty") }
            let isStar = token.elementsEqual("*".utf8)
            let isRest = token.elementsEqual(">".utf8)
            guard isStar || isRest else { continue }
            guard allowsWildcards else { throw invalid("one cannot publish to a wildcard") }
            guard isStar || index == tokens.count - 1 else { throw invalid("'>' may only stand at the end") }
        }
    }
}
