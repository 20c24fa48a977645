import Logging
import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

@Suite struct HTTPDrainTests {
    private func manager() -> NetworkManager {
        var configuration = NetworkManager.Configuration.loopback
        configuration.mode = .http
        return NetworkManager(configuration: configuration, logger: Logger(label: "test"))
    }

    @Test func drainFinishesRunningRequests() async throws {
        let worker = self.manager()
        let caller = self.manager()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await worker.run() }
            group.addTask { try await caller.run() }
            let endless = EndlessHandler(pause: .milliseconds(1))
            let instance = try await Loopback(manager: worker).serve(handler: endless.handler)
            let port = try instance.httpPort
            let stream = try await Loopback(manager: caller).send("{}", to: instance)
            var iterator = stream.makeAsyncIterator()
            _ = try await iterator.next()

            let silent = try await RawSocket.connect(port: port)
            let http2 = try await RawSocket.connect(port: port)
            try await http2.send(RawHTTP2Frame.preface)
            try await http2.send(RawHTTP2Frame.settings())
            try await http2.waitForFrames(RawHTTP2Frame.settings)
            let http1 = try await RawSocket.connect(port: port)
            try await http1.send(http1Request())
            try await http1.waitForStatuses([202])
            let half = try await RawSocket.connect(port: port)
            let body = requestBody()
            try await half.send(
                "POST /v1/rpc/run HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: \(body.readableBytes)\r\n\r\n"
            )
            try await half.waitForStatuses([100])

            async let drained: Void = worker.drain(deadline: .seconds(30))
            // Unused connections are closed, HTTP/2 with notice.
            try await http1.waitForClose()
            try await silent.waitForClose()
            try await http2.waitForFrames(RawHTTP2Frame.goAway)
            // What has begun is answered, and is the last on its connection.
            try await half.send(body)
            try await half.waitForStatuses([100, 503])
            #expect(half.receivedText.contains("Server unavailable: shutting down"))
            try await half.waitForClose()
            try await eventually("new requests are refused") {
                do {
                    _ = try await Loopback(manager: caller).send("{}", to: instance)
                    return false
                } catch {
                    return (error as? RequestPlaneError)?.code == .unavailable
                }
            }
            // The running one goes on.
            for _ in 0..<10 { #expect(try await iterator.next() != nil) }
            stream.stop()
            while try await iterator.next() != nil {}
            await drained
            try await group.next()
            await caller.drain(deadline: .seconds(5))
            try await group.waitForAll()
        }
        #expect(worker.server.inFlight == 0)
    }

    @Test func aPortThatIsTakenIsSaid() async throws {
        try await RawSocket.listen { listener in
            try await Loopback.runHTTP({ $0.http.port = listener.port }) { loopback in
                let error = await #expect(throws: RequestPlaneError.self) {
                    try await loopback.serve(handler: items { _ in [] })
                }
                #expect(error?.code == .invalidConfiguration)
                #expect(error?.message.contains("127.0.0.1:\(listener.port)") == true)
                #expect(error?.message.contains("DYN_HTTP_RPC_PORT") == true)
            }
        }
    }

    @Test func rootPathAndWildcard() async throws {
        try await Loopback.runHTTP({
            $0.http.rootPath = "/a/b"
            $0.http.host = "0.0.0.0"
        }) { loopback in
            let instance = try await loopback.serve(handler: items { _ in [.data(ByteBuffer(string: "1"))] })
            #expect(instance.transport.value.hasSuffix("/a/b/run"))
            #expect(!instance.transport.value.contains("0.0.0.0"))
            #expect(try await loopback.send("{}", to: instance).texts() == ["1"])
        }
    }
}
