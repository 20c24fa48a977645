import NIOCore
import Testing

@testable import LoadTest

@Suite("What an answer is measured by") struct AnswerMeterTests {
    private static let stream = """
        data: {"choices":[{"delta":{"content":"a"}}]}

        data: {"choices":[{"delta":{"content":"b"}}]}

        data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":17,"total_tokens":20}}

        data: [DONE]


        """

    private func measure(
        _ text: String,
        pieces: Int,
        isStreamed: Bool = true,
        status: Int = 200
    ) -> (
        AnswerMeter, AnswerMeter.Answer
    ) {
        var meter = AnswerMeter(isStreamed: isStreamed, sent: 1000)
        meter.begin(status: status)
        let bytes = Array(text.utf8)
        var now: UInt64 = 1000
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            now += 10
            meter.receive(ByteBuffer(bytes: bytes[start..<min(start + pieces, bytes.count)]), at: now)
        }
        let answer = meter.end()
        return (meter, answer)
    }

    @Test("tokens are the server's count, however the bytes are cut", arguments: [1, 7, 50, 10_000])
    func streamed(_ pieces: Int) {
        let (meter, answer) = self.measure(Self.stream, pieces: pieces)
        #expect(answer == AnswerMeter.Answer(failure: nil, tokens: 17))
        #expect(meter.gaps.count == 2)
        #expect((meter.firstEvent ?? 0) >= 10)
    }

    @Test("without usage, events count") func withoutUsage() {
        let text = "data: {\"choices\":[]}\n\ndata: {\"choices\":[]}\n\ndata: [DONE]\n\n"
        #expect(self.measure(text, pieces: 9).1 == AnswerMeter.Answer(failure: nil, tokens: 2))
    }

    @Test("an answer that is not streamed") func plain() {
        let text = #"{"choices":[],"usage":{"completion_tokens": 5}}"#
        let (meter, answer) = self.measure(text, pieces: 4, isStreamed: false)
        #expect(answer == AnswerMeter.Answer(failure: nil, tokens: 5))
        #expect(meter.firstEvent == nil)
    }

    @Test(
        "what is not a whole answer is a failure",
        arguments: [
            ("data: {\"choices\":[]}\n\n", 200, "without [DONE]"),
            ("data: {\"error\":{\"message\":\"boom\"}}\n\ndata: [DONE]\n\n", 200, "boom"),
            ("event: error\ndata: {}\n\ndata: [DONE]\n\n", 200, "error event"),
            ("{\"error\":\"busy\"}", 503, "status 503: {\"error\":\"busy\"}"),
        ]
    )
    func failures(_ text: String, _ status: Int, _ expected: String) {
        let answer = self.measure(text, pieces: 5, status: status).1
        #expect(answer.failure?.contains(expected) == true)
        #expect(answer.tokens == 0)
    }
}
