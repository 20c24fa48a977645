import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

@Suite struct HTTPRoundTripTests {
    @Test func echo() async throws {
        try await Loopback.runHTTP { loopback in
            let instance = try await loopback.serve(
                handler: items { request in
                    [
                        .data(request.payload), .annotation(event: "note", comments: ["a", "b"]),
                        .data(ByteBuffer(string: "2")),
                    ]
                }
            )
            #expect(loopback.manager.server.mode == .http)
            #expect(instance.transport.value == "http://127.0.0.1:\(try instance.httpPort)/v1/rpc/run")
            for _ in 0..<3 {
                let stream = try await loopback.send(#"{"n":2}"#, to: instance)
                #expect(try await stream.texts() == [#"{"n":2}"#, "note:a,b", "2"])
            }
        }
    }

    @Test(arguments: [true, false])
    func requestArrivesWhole(_ hasAdaptiveWindow: Bool) async throws {
        try await Loopback.runHTTP({ $0.http.adaptiveWindow = hasAdaptiveWindow }) { loopback in
            let instance = try await loopback.serve(
                handler: items { request in
                    #expect(request.id == "the-id")
                    #expect(request.headers["traceparent"] == "00-1-2-01")
                    #expect(request.headers["request-id"] == "the-id")
                    #expect(
                        Set(request.headers.keys) == ["traceparent", "request-id", "x-frontend-send-ts-ns", "x-many"]
                    )
                    #expect(request.headers["x-many"] == "zwölf")
                    return [.data(ByteBuffer(string: String(request.payload.readableBytes)))]
                }
            )
            for size in [1, 8192, 100_000, 8_000_000] {
                let payload = ByteBuffer(repeating: UInt8(ascii: "1"), count: size)
                let headers = ["Traceparent": "00-1-2-01", "x-many": "zwölf"]
                let request = OutgoingRequest(id: "the-id", headers: headers, payload: payload)
                let stream = try await loopback.manager.client.send(request, to: instance)
                #expect(try await stream.texts() == [String(size)])
            }
        }
    }

    @Test func manyAtOnce() async throws {
        // How long one of them waits for its turn is the machine's concern.
        try await Loopback.runHTTP({ $0.http.requestTimeout = .seconds(60) }) { loopback in
            let instance = try await loopback.serve(handler: counting(to: 10))
            try await withThrowingTaskGroup(of: [String].self) { group in
                for number in 0..<500 {
                    group.addTask { try await loopback.send("{}", to: instance, id: "r\(number)").texts() }
                }
                for try await texts in group { #expect(texts == (0..<10).map { String($0) }) }
            }
            #expect(loopback.manager.statistics.first?.requests == 500)
        }
    }

    @Test func endpointsOfOneNameGetDistinctURLs() async throws {
        try await Loopback.runHTTP { loopback in
            var instances: [Instance] = []
            for component in ["one", "two", "zwölf %/x"] {
                let endpoint = EndpointID(namespace: "test", component: component, name: "run")
                let id = InstanceID(rawValue: 0xabc)
                let address = try await loopback.manager.server.register(
                    endpoint,
                    id: id,
                    handler: items { _ in [.data(ByteBuffer(string: "\"\(component)\""))] }
                )
                instances.append(Instance(endpoint: endpoint, id: id, transport: address))
            }
            #expect(Set(instances.map(\.transport)).count == 3)
            for instance in instances {
                #expect(try await loopback.send("{}", to: instance).texts() == ["\"\(instance.endpoint.component)\""])
            }
            #expect(instances[1].transport.value.hasSuffix("/v1/rpc/abc/test/two/run"))
        }
    }

    @Test func handlerRefusesAndFails() async throws {
        try await Loopback.runHTTP { loopback in
            let refusing = try await loopback.serve(
                "refuse",
                handler: { _ in throw RemoteError(kind: .invalidArgument, message: "n is missing") }
            )
            let error = await #expect(throws: RequestPlaneError.self) { try await loopback.send("{}", to: refusing) }
            #expect(error?.code == .remote)
            #expect(error?.message.contains("n is missing") == true)
            let failing = try await loopback.serve(
                "fail",
                handler: { _ in
                    AsyncThrowingStream { continuation in
                        continuation.yield(.data(ByteBuffer(string: "1")))
                        continuation.finish(throwing: RemoteError(kind: .resourceExhausted, message: "no memory"))
                    }
                }
            )
            let texts = try await loopback.send("{}", to: failing).texts()
            #expect(texts == ["1", "failure:ResourceExhausted: no memory"])
        }
    }

    @Test func cancellation() async throws {
        try await Loopback.runHTTP { loopback in
            let endless = EndlessHandler(pause: .milliseconds(1))
            let instance = try await loopback.serve(handler: endless.handler)
            do {
                let stream = try await loopback.send("{}", to: instance)
                for try await _ in stream { break }
            }
            try await eventually("the handler is cancelled") { loopback.manager.server.inFlight == 0 }
            #expect(loopback.manager.statistics.first?.cancellations == 1)
            let stopped = try await loopback.send("{}", to: instance)
            var count = 0
            for try await _ in stopped {
                count += 1
                if count == 2 { stopped.stop() }
            }
            try await eventually("the handler is stopped") { loopback.manager.server.inFlight == 0 }
        }
    }

    @Test func refusals() async throws {
        try await Loopback.runHTTP({ $0.http.maximumInFlight = 1 }) { loopback in
            let endless = EndlessHandler(pause: .seconds(3600))
            let instance = try await loopback.serve(handler: endless.handler)
            var wrong = instance
            wrong.transport = .http(instance.transport.value + "x")
            let unknown = await #expect(throws: RequestPlaneError.self) { try await loopback.send("{}", to: wrong) }
            #expect(unknown?.code == .unknownEndpoint)
            #expect(unknown?.message.contains("status 404 Not Found: Endpoint not found") == true)
            let first = try await loopback.send("{}", to: instance)
            let overload = await #expect(throws: RequestPlaneError.self) { try await loopback.send("{}", to: instance) }
            #expect(overload?.code == .overloaded)
            #expect(overload?.message.contains("Server overloaded: worker at capacity") == true)
            withExtendedLifetime(first) {}
        }
    }

    @Test func bodyOverTheServersLimitIsRefusedBeforeItIsSent() async throws {
        try await Loopback.runHTTP({ $0.http.maximumBodySize = 3_000_000 }) { loopback in
            let instance = try await loopback.serve(handler: items { _ in [.data(ByteBuffer(string: "1"))] })
            let fits = String(repeating: "1", count: 2_900_000)
            #expect(try await loopback.send(fits, to: instance).texts() == ["1"])
            let big = String(repeating: "1", count: 3_000_000)
            let error = await #expect(throws: RequestPlaneError.self) { try await loopback.send(big, to: instance) }
            #expect(error?.code == .tooLarge)
            #expect(error?.message.contains("more than the 3000000 that this server takes") == true)
            #expect(error?.message.contains("DYN_REQUEST_PLANE=tcp") == true)
        }
    }

    @Test func headersThatHTTPCannotCarryAreRefused() async throws {
        try await Loopback.runHTTP { loopback in
            let instance = try await loopback.serve(handler: items { _ in [.data(ByteBuffer(string: "1"))] })
            for (name, value) in [("x", "a\r\nb: c"), ("a b", "c"), ("", "x"), ("content-length", "3"), ("x", " y")] {
                let request = OutgoingRequest(id: "1", headers: [name: value], payload: ByteBuffer(string: "1"))
                let error = await #expect(throws: RequestPlaneError.self) {
                    try await loopback.manager.client.send(request, to: instance)
                }
                #expect(error?.code == .protocolViolation)
            }
        }
    }
}
