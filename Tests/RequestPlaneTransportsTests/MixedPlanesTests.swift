import Logging
import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// One caller and instances of all planes, side by side.
@Suite struct MixedPlanesTests {
    @Test func `one client calls a TCP, an HTTP and a NATS instance, interleaved`() async throws {
        try await NATSServerFixture.run { server in
            func manager(_ mode: RequestPlaneMode) throws -> NetworkManager {
                var configuration = NetworkManager.Configuration.loopback
                configuration.mode = mode
                configuration.nats = try NATSSettings(server: server.url)
                return NetworkManager(configuration: configuration, logger: Logger(label: mode.rawValue))
            }
            let client = try manager(.tcp)
            let workers = try RequestPlaneMode.allCases.map { try manager($0) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for part in workers + [client] { group.addTask { try await part.run() } }
                var instances: [Instance] = []
                for (number, worker) in workers.enumerated() {
                    let mode = worker.server.mode.rawValue
                    let handler = items { request in
                        (0..<3).map { .data(ByteBuffer(string: "\"\(mode) \(request.id) \($0)\"")) }
                    }
                    instances.append(
                        try await Loopback(manager: worker).serve(id: UInt64(number + 1), handler: handler)
                    )
                }
                let streams = try await self.send(30, to: instances, with: client)
                for (number, (mode, stream)) in streams.enumerated() {
                    #expect(try await stream.texts() == (0..<3).map { "\"\(mode) r-\(number) \($0)\"" })
                }
                for worker in workers { #expect(worker.statistics.map(\.requests) == [10]) }
                for part in workers + [client] { await part.drain(deadline: .seconds(5)) }
                try await group.waitForAll()
            }
        }
    }

    /// All requests first, then the answers, so that streams of all planes are open at once.
    private func send(
        _ count: Int,
        to instances: [Instance],
        with client: NetworkManager
    ) async throws -> [(mode: String, stream: ResponseStream)] {
        var streams: [(mode: String, stream: ResponseStream)] = []
        for number in 0..<count {
            let instance = instances[number % instances.count]
            let stream = try await Loopback(manager: client).send("{}", to: instance, id: "r-\(number)")
            let mode =
                switch instance.transport {
                case .tcp: "tcp"
                case .http: "http"
                case .nats: "nats"
                }
            streams.append((mode, stream))
        }
        return streams
    }
}
