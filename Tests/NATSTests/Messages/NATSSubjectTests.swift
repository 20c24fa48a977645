import Testing

@testable import NATS

@Suite struct NATSSubjectTests {
    @Test(arguments: ["a", "dynamo_backend.generate-1d5488c866544b8b", "a.b*c.d>", "ü.b"])
    func `subjects to publish to`(subject: String) throws { try NATSSubject.validatePublished(subject) }

    @Test(arguments: ["", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\nPUB x 0", "*", "a.*", ">", "a\u{0}"])
    func `what one cannot publish to`(subject: String) {
        let error = #expect(throws: NATSError.self) { try NATSSubject.validatePublished(subject) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("\n") == false)
    }

    @Test func `wildcards to subscribe to`() throws {
        for subject in ["*", ">", "a.*.c", "a.>"] { try NATSSubject.validateSubscribed(subject) }
        #expect(throws: NATSError.self) { try NATSSubject.validateSubscribed(">.a") }
        #expect(throws: NATSError.self) { try NATSSubject.validateQueueGroup("a b") }
        try NATSSubject.validateQueueGroup("q")
    }
}
