import Logging
import NIOCore
import RequestPlane
import RequestPlaneTransports
import Synchronization
import TestSupport
import Testing

@Suite struct NetworkManagerTests {
    private func manager() -> NetworkManager {
        NetworkManager(configuration: .loopback, logger: Logger(label: "test"))
    }

    @Test func drainFinishesRunningRequests() async throws {
        let worker = self.manager()
        let caller = self.manager()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await worker.run() }
            group.addTask { try await caller.run() }
            let endless = EndlessHandler(pause: .milliseconds(1))
            let instance = try await Loopback(manager: worker).serve(handler: endless.handler)
            let stream = try await Loopback(manager: caller).send("{}", to: instance)
            var iterator = stream.makeAsyncIterator()
            _ = try await iterator.next()

            async let drained: Void = worker.drain(deadline: .seconds(30))
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

    @Test func drainDeadlineCancels() async throws {
        let worker = self.manager()
        let caller = self.manager()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await worker.run() }
            group.addTask { try await caller.run() }
            let endless = EndlessHandler(pause: .milliseconds(1))
            let instance = try await Loopback(manager: worker).serve(handler: endless.handler)
            let stream = try await Loopback(manager: caller).send("{}", to: instance)
            await worker.drain(deadline: .milliseconds(100))
            let error = await #expect(throws: RequestPlaneError.self) { for try await _ in stream {} }
            #expect(error?.code == .streamEndedEarly)
            await caller.drain(deadline: .seconds(5))
            try await group.waitForAll()
        }
        #expect(worker.statistics.first?.cancellations == 1)
    }

    @Test func cancelEndsRun() async throws {
        let manager = self.manager()
        let endless = EndlessHandler(pause: .milliseconds(1))
        let run = Task { try await manager.run() }
        let instance = try await Loopback(manager: manager).serve(handler: endless.handler)
        let stream = try await Loopback(manager: manager).send("{}", to: instance)
        run.cancel()
        await #expect(throws: RequestPlaneError.self) { for try await _ in stream {} }
        try await run.value
        #expect(manager.server.inFlight == 0)
        await #expect(throws: RequestPlaneError.self) { try await Loopback(manager: manager).send("{}", to: instance) }
    }

    @Test func portInUse() async throws {
        try await RawSocket.listen { listener in
            var configuration = NetworkManager.Configuration.loopback
            configuration.tcp.port = listener.port
            let manager = NetworkManager(configuration: configuration, logger: Logger(label: "test"))
            let error = await #expect(throws: RequestPlaneError.self) {
                try await Loopback(manager: manager).serve(handler: counting(to: 1))
            }
            #expect(error?.message.contains("DYN_TCP_RPC_PORT") == true)
        }
    }
}

@Suite struct ConfigurationTests {
    /// Collects what is logged.
    private final class Log: LogHandler, @unchecked Sendable {
        // The tests log from one task only; the handler must be a class to be read afterwards.
        let lines = Mutex<[String]>([])
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }
        func log(event: LogEvent) { self.lines.withLock { $0.append(event.message.description) } }
    }

    private func read(
        _ environment: [String: String]
    ) throws(RequestPlaneError) -> (NetworkManager.Configuration, [String]) {
        let log = Log()
        let logger = Logger(label: "test") { _ in log }
        let configuration = try NetworkManager.Configuration(environment: environment, logger: logger)
        return (configuration, log.lines.withLock { $0 })
    }

    @Test func defaults() throws {
        let (configuration, log) = try self.read([:])
        #expect(configuration == NetworkManager.Configuration())
        #expect(log == [])
        #expect(configuration.mode == .tcp)
        #expect(configuration.tcp.maximumMessageSize == 33_554_432)
        #expect(configuration.tcp.requestTimeout == .seconds(10))
        #expect(configuration.tcp.connectTimeout == .seconds(3))
        #expect(configuration.tcp.poolSize == 50)
        #expect(configuration.tcp.channelBuffer == 100)
        #expect(configuration.tcp.port == 0 && configuration.tcp.host == nil)
    }

    @Test func everyVariableTakesEffect() throws {
        let (configuration, log) = try self.read([
            "DYN_REQUEST_PLANE": "TCP", "DYN_TCP_RPC_HOST": "[::1]", "DYN_TCP_RPC_PORT": "7001",
            "DYN_TCP_MAX_MESSAGE_SIZE": "2048",
            "DYN_TCP_REQUEST_TIMEOUT": "7", "DYN_TCP_POOL_SIZE": "3", "DYN_TCP_CONNECT_TIMEOUT": "2",
            "DYN_TCP_CHANNEL_BUFFER": "9", "DYN_TCP_HOST_IDLE_TTL_SECS": "11",
            "DYN_TCP_WORKER_POOL_SIZE": "20", "DYN_TCP_WORK_QUEUE_SIZE": "3",
            "DYN_TCP_RESPONSE_STREAM_HOST": "lo", "DYN_TCP_RESPONSE_STREAM_PORT": "7002",
        ])
        var expected = TCPConfiguration()
        expected.host = "::1"
        expected.port = 7001
        expected.maximumMessageSize = 2048
        expected.requestTimeout = .seconds(7)
        expected.poolSize = 3
        expected.connectTimeout = .seconds(2)
        expected.channelBuffer = 9
        expected.hostIdleTimeout = .seconds(11)
        expected.maximumInFlight = 23
        #expect(configuration.tcp == expected)
        var responseStream = ResponseStreamConfiguration()
        responseStream.host = "::1"
        responseStream.interface = "lo"
        responseStream.port = 7002
        #expect(configuration.responseStream == responseStream)
        #expect(log == [])
    }

    @Test(arguments: ["bogus", "TCP ", "quic"])
    func invalidModeMeansTCPAndIsLogged(_ text: String) throws {
        let (configuration, log) = try self.read(["DYN_REQUEST_PLANE": text])
        #expect(configuration.mode == .tcp)
        #expect(log.count == 1)
        #expect(log.first?.contains("'\(text)'") == true)
    }

    @Test func settingsOfNATSMatterOnlyToThoseWhoServeOnIt() throws {
        let wrong = ["NATS_SERVER": "http://localhost:4222"]
        let (configuration, _) = try self.read(wrong)
        #expect(throws: (any Error).self) { try configuration.nats.connection.get() }
        let error = #expect(throws: RequestPlaneError.self) {
            try self.read(wrong.merging(["DYN_REQUEST_PLANE": "NATS"]) { $1 })
        }
        #expect(error?.code == .invalidConfiguration)
        #expect(error?.message.contains("NATS_SERVER") == true)
    }

    @Test(arguments: [
        ("DYN_TCP_RPC_PORT", "abc"), ("DYN_TCP_RPC_PORT", "70000"), ("DYN_TCP_REQUEST_TIMEOUT", "1.5"),
        ("DYN_TCP_POOL_SIZE", "0"),
        ("DYN_TCP_CHANNEL_BUFFER", "-1"), ("DYN_TCP_MAX_MESSAGE_SIZE", "x"),
    ])
    func invalidNumberIsReplacedAndLogged(_ name: String, _ text: String) throws {
        let (configuration, log) = try self.read([name: text])
        #expect(configuration == NetworkManager.Configuration())
        #expect(log.count == 1)
        #expect(log.first?.contains(name) == true)
    }

    @Test(arguments: [
        ("DYN_TCP_RPC_HOST", "localhost"), ("DYN_TCP_RPC_HOST", "eth0"), ("DYN_TCP_RESPONSE_STREAM_PORT", "abc"),
        ("DYN_TCP_RESPONSE_STREAM_HOST", "127.0.0.1"),
    ])
    func invalidAddressStops(_ name: String, _ text: String) throws {
        let error = #expect(throws: RequestPlaneError.self) { try self.read([name: text]) }
        #expect(error?.code == .invalidConfiguration)
        #expect(error?.message.contains(name) == true)
    }
}
