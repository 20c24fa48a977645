import Glibc
import Logging
import NATS
import NIOCore
import RequestPlane
import TestSupport
import Testing

@testable import RequestPlaneTransports

/// What becomes of a server and its callers when NATS goes away.
@Suite struct NATSOutageTests {
    private func settings(_ port: Int, timeout: Duration = .seconds(10)) throws -> NATSSettings {
        var settings = try NATSSettings(server: "nats://127.0.0.1:\(port)")
        settings.requestTimeout = timeout
        var connection = try settings.connection.get()
        connection.reconnectDelay = .milliseconds(20)
        connection.maximumReconnectDelay = .milliseconds(200)
        settings.connection = .success(connection)
        return settings
    }

    private func code(_ body: () async throws -> Void) async -> RequestPlaneError.Code? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? RequestPlaneError)?.code
        }
    }

    @Test func `streams go on, requests end in their time, and endpoints are served again`() async throws {
        let port = try freePort()
        let settings = try self.settings(port, timeout: .milliseconds(500))
        try await Loopback.run({
            $0.mode = .nats
            $0.nats = settings
        }) { loopback in
            let endless = EndlessHandler(pause: .milliseconds(1))
            let (instance, stream) = try await NATSServerFixture.run(port: port) { server in
                let instance = try await loopback.serve(handler: endless.handler)
                let stream = try await loopback.send("{}", to: instance, id: "r-0")
                server.process.send(SIGKILL)
                return (instance, stream)
            }
            try await eventually("the loss is noticed") { loopback.manager.natsStatistics?.isConnected == false }
            var iterator = stream.makeAsyncIterator()
            for _ in 0..<1000 { #expect(try await iterator.next() != nil) }
            let start = ContinuousClock.now
            let code = await self.code { _ = try await loopback.send("{}", to: instance, id: "r-1") }
            #expect(code == .timedOut)
            #expect(ContinuousClock.now - start < .seconds(3))
            try await NATSServerFixture.run(port: port) { _ in
                try await eventually("the endpoint is served again") {
                    await self.code { _ = try await loopback.send("{}", to: instance, id: "r-2") } == nil
                }
                for _ in 0..<1000 { #expect(try await iterator.next() != nil) }
                #expect(loopback.manager.natsStatistics?.reconnects == 1)
            }
        }
    }

    @Test func `an endpoint can be given up and taken, in limited time, while NATS is away`() async throws {
        let port = try freePort()
        let settings = try self.settings(port)
        try await Loopback.run({
            $0.mode = .nats
            $0.nats = settings
        }) { loopback in
            try await NATSServerFixture.run(port: port) { _ in _ = try await loopback.serve(handler: counting(to: 1)) }
            try await eventually("the loss is noticed") { loopback.manager.natsStatistics?.isConnected == false }
            let start = ContinuousClock.now
            await loopback.manager.server.unregister(loopback.endpoint)
            #expect(ContinuousClock.now - start < .seconds(5))
            try await NATSServerFixture.run(port: port) { _ in
                let instance = try await loopback.serve(handler: counting(to: 1))
                #expect(try await loopback.send("{}", to: instance).texts() == ["0"])
            }
        }
    }

    @Test func `a server whose connection was closed for good fails`() async throws {
        try await NATSServerFixture.run { server in
            var configuration = NetworkManager.Configuration.loopback
            configuration.mode = .nats
            configuration.nats = try NATSSettings(server: server.url)
            let link = NATSLink(settings: configuration.nats, logger: quietLogger)
            let worker = NATSServer(configuration: configuration, link: link, logger: quietLogger)
            let run = Task { try await worker.run() }
            _ = try await worker.register(
                EndpointID(namespace: "n", component: "c", name: "e"),
                id: InstanceID(rawValue: 1),
                handler: counting(to: 1)
            )
            try #require(link.current != nil)
            await link.current?.close()
            let error = await #expect(throws: RequestPlaneError.self) { try await run.value }
            #expect(error?.message.contains("n.c.e") == true, "\(String(describing: error))")
            await link.close()
        }
    }

    @Test func `without NATS a registration says where it looked`() async throws {
        let settings = try self.settings(try freePort())
        try await Loopback.run({
            $0.mode = .nats
            $0.nats = settings
        }) { loopback in
            let error = await #expect(throws: RequestPlaneError.self) {
                _ = try await loopback.serve(handler: counting(to: 1))
            }
            #expect(error?.code == .connectFailed)
            #expect(error?.message.contains("NATS") == true, "\(String(describing: error))")
            #expect(error?.message.contains("127.0.0.1") == true, "\(String(describing: error))")
        }
    }

    @Test func `an empty header value does not spoil its neighbours`() async throws {
        try await NATSServerFixture.run { server in
            let settings = try self.settings(server.port)
            try await Loopback.run({
                $0.mode = .nats
                $0.nats = settings
            }) { loopback in
                let seen = Recorded<[String: String]>([:])
                let instance = try await loopback.serve { request in
                    seen.value = request.headers
                    return AsyncThrowingStream<ResponseItem, any Error> { $0.finish() }
                }
                let headers = ["a": "", "b": "2", "c": "", "d": "four words are here"]
                let request = OutgoingRequest(id: "r", headers: headers, payload: ByteBuffer(string: "{}"))
                _ = try await loopback.manager.client.send(request, to: instance).texts()
                #expect(seen.value.filter { headers.keys.contains($0.key) } == headers.filter { !$0.value.isEmpty })
                let odd = OutgoingRequest(id: "r", headers: ["a b": "1"], payload: ByteBuffer(string: "{}"))
                let error = await #expect(throws: RequestPlaneError.self) {
                    try await loopback.manager.client.send(odd, to: instance)
                }
                #expect(error?.code == .invalidConfiguration)
                #expect(error?.message.contains("'a b'") == true)
            }
        }
    }
}
