import Logging
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

    @Test func requestArrivesWhole() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(
                handler: items { request in
                    #expect(request.id == "the-id")
                    #expect(request.endpoint == loopback.endpoint)
                    #expect(request.headers["traceparent"] == "00-1-2-01")
                    #expect(request.headers["request-id"] == "the-id")
                    return [.data(ByteBuffer(string: String(request.payload.readableBytes)))]
                }
            )
            var payload = ByteBuffer(string: "\"")
            payload.writeRepeatingByte(UInt8(ascii: "x"), count: 20_000_000)
            payload.writeString("\"")
            let request = OutgoingRequest(id: "the-id", headers: ["traceparent": "00-1-2-01"], payload: payload)
            let stream = try await loopback.manager.client.send(request, to: instance)
            #expect(try await stream.texts() == ["20000002"])
        }
    }

    @Test func bigItems() async throws {
        try await Loopback.run { loopback in
            let big = ByteBuffer(string: "\"" + String(repeating: "y", count: 40_000_000) + "\"")
            let instance = try await loopback.serve(
                handler: items { _ in [.data(big), .data(ByteBuffer(string: "1")), .data(big)] }
            )
            var sizes: [Int] = []
            for try await item in try await loopback.send("{}", to: instance) {
                if case .data(let payload) = item { sizes.append(payload.readableBytes) }
            }
            #expect(sizes == [40_000_002, 1, 40_000_002])
        }
    }

    @Test func order() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(handler: counting(to: 20_000))
            let texts = try await loopback.send("{}", to: instance).texts()
            #expect(texts == (0..<20_000).map(String.init))
        }
    }

    @Test func emptyAnswer() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(handler: items { _ in [] })
            #expect(try await loopback.send("null", to: instance).texts() == [])
        }
    }

    @Test func thousandStreamsAtOnce() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(
                handler: { request in
                    AsyncThrowingStream { continuation in
                        for number in 0..<10 {
                            continuation.yield(.data(ByteBuffer(string: "\"\(request.id)-\(number)\"")))
                        }
                        continuation.finish()
                    }
                }
            )
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<1000 {
                    group.addTask {
                        let stream = try await loopback.send("{}", to: instance, id: "r\(number)")
                        #expect(try await stream.texts() == (0..<10).map { "\"r\(number)-\($0)\"" })
                    }
                }
                try await group.waitForAll()
            }
            try await eventually("nothing is in flight") { loopback.manager.server.inFlight == 0 }
            #expect(loopback.manager.statistics.first?.requests == 1000)
        }
    }

    @Test func thousandStreamsHeldOpen() async throws {
        try await Loopback.run { loopback in
            let endless = EndlessHandler(pause: .seconds(3600))
            let instance = try await loopback.serve(handler: endless.handler)
            try await withThrowingTaskGroup(of: ResponseStream.self) { group in
                for number in 0..<1000 {
                    group.addTask { try await loopback.send("{}", to: instance, id: "r\(number)") }
                }
                var streams: [ResponseStream] = []
                for try await stream in group { streams.append(stream) }
                #expect(loopback.manager.server.inFlight == 1000)
                streams.removeAll()
            }
            try await eventually("every generation is cancelled") { loopback.manager.server.inFlight == 0 }
            #expect(loopback.manager.statistics.first?.cancellations == 1000)
        }
    }

    @Test func severalEndpointsShareThePort() async throws {
        try await Loopback.run { loopback in
            let one = try await loopback.serve("one", handler: items { _ in [.data(ByteBuffer(string: "1"))] })
            let two = try await loopback.serve("two", handler: items { _ in [.data(ByteBuffer(string: "2"))] })
            #expect(try await loopback.send("{}", to: one).texts() == ["1"])
            #expect(try await loopback.send("{}", to: two).texts() == ["2"])
            #expect(one.transport.value.split(separator: "/")[0] == two.transport.value.split(separator: "/")[0])
            #expect(one.transport.value.hasSuffix("/1d5488c866544b8b/one"))
            // The same name in another component takes the longer path of newer releases.
            let other = EndpointID(namespace: "test", component: "other", name: "one")
            let address = try await loopback.manager.server.register(other, id: one.id, handler: items { _ in [] })
            #expect(address.value.hasSuffix("/1d5488c866544b8b/test/other/one"))
            await #expect(throws: RequestPlaneError.self) {
                try await loopback.serve("one", handler: items { _ in [] })
            }
        }
    }

    @Test func registrationBeforeRun() async throws {
        let manager = NetworkManager(configuration: .loopback, logger: Logger(label: "test"))
        let loopback = Loopback(manager: manager)
        let instance = try await loopback.serve(handler: items { request in [.data(request.payload)] })
        // The request is accepted, and answered once the server runs.
        let caller = Task { try await loopback.send("7", to: instance).texts() }
        try await eventually("the request is accepted") { manager.server.inFlight == 1 }
        let run = Task { try await manager.run() }
        #expect(try await caller.value == ["7"])
        run.cancel()
        try await run.value
    }
}
