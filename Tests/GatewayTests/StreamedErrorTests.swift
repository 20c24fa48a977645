import NIOCore
import Testing

@testable import Gateway

@Suite struct StreamedErrorTests {
    @Test(arguments: [
        ("event: error\n: no worker\n\n", true),
        ("16\r\nevent: error\n: no worker\n\n\r\n", true),
        ("data: {\"id\":1}\n\ndata: {\"error\":{\"message\":\"x\"}}\n\n", true),
        ("1e\r\ndata: {\"error\":{\"message\":\"x\"}}\n\n\r\n", true),
        ("data: {\"text\":\"event: error\"}\n\nevent: error\n", true),
        ("data: {\"text\":\"event: error\"}\n\n", false),
        (#"data: {"text":"\nevent: error, data: {\"error\": 1}"}"#, false),
        ("data: [DONE]\n\n", false),
        ("event: err", false),
        ("", false),
    ])
    func `an error counts at the beginning of a line only`(bytes: String, isError: Bool) {
        var whole = StreamedError()
        #expect(whole.isTold(in: ByteBuffer(string: bytes)) == isError)
        // However the stream is cut into reads.
        for length in 1...5 {
            var cut = StreamedError()
            var rest = ByteBuffer(string: bytes)
            var isTold = false
            while rest.readableBytes > 0, let piece = rest.readSlice(length: min(length, rest.readableBytes)) {
                isTold = cut.isTold(in: piece) || isTold
            }
            #expect(isTold == isError, "pieces of \(length)")
        }
    }
}
