import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

@Suite struct TCPRoundTripTests {
    @Test func echo() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(
                handler: items { request in
                    [
                        .data(request.payload), .annotation(event: "note", comments: ["a", "b"]),
                        .data(ByteBuffer(string: "2")),
                    ]
                }
            )
            let stream = try await loopback.send(#"{"n":2}"#, to: instance)
            #expect(try await stream.texts() == [#"{"n":2}"#, "note:a,b", "2"])
        }
    }
}
