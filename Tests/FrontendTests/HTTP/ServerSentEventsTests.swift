import NIOCore
import Testing

@testable import dynamo_frontend

@Suite("Server-sent events")
struct ServerSentEventsTests {
    @Test("the payload is framed as it is; line breaks inside it become spaces")
    func data() {
        #expect(String(buffer: ServerSentEvents.data(ByteBuffer(string: #"{"a":1}"#))) == "data: {\"a\":1}\n\n")
        #expect(String(buffer: ServerSentEvents.data(ByteBuffer(string: "{\r\n\"a\":1}"))) == "data: {  \"a\":1}\n\n")
    }

    @Test("events that come together stand one after the other")
    func together() {
        var events = ByteBuffer()
        for payload in ["1", "{\n}", "3"] { ServerSentEvents.append(ByteBuffer(string: payload), to: &events) }
        #expect(String(buffer: events) == "data: 1\n\ndata: { }\n\ndata: 3\n\n")
    }

    @Test("an annotation cannot break out of its lines")
    func annotation() {
        let event = ServerSentEvents.annotation("x\ny", comments: ["1", "2\r\n3"])
        #expect(String(buffer: event) == "event: x y\n: 1\n: 2 3\n\n")
    }
}
