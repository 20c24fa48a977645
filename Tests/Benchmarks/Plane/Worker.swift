import NIOCore
import NIOPosix
import RequestPlane
import RequestPlaneTransports

/// The process that answers: on the request plane, and beside it on a port without any protocol.
enum Worker {
    /// Serves until standard input ends.
    static func run(_ network: NetworkManager, onEventLoop loopNetwork: NetworkManager) async throws {
        let address = try await self.serve(network)
        let loopAddress = try await self.serve(loopNetwork)
        let bare = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(BareWorkerHandler())
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        PlaneBenchmark.say("\(address) \(loopAddress) \(bare.localAddress?.port ?? 0)")
        while readLine() != nil {}
        try await bare.close()
    }

    private static func serve(_ network: NetworkManager) async throws -> String {
        try await network.server.register(.benchmark, id: .worker) { try await Self.answer($0, network) }.value
    }

    /// A request says what it wants in words: `flow COUNT SIZE`, `echo ADDRESS`, `idle`.
    private static func answer(
        _ request: IncomingRequest,
        _ network: NetworkManager
    ) async throws -> any AsyncSequence<ResponseItem, any Error> & Sendable {
        let words = String(buffer: request.payload).split(separator: " ").map(String.init)
        switch (words.first, words.count) {
        case ("flow", 3): return Items(count: Int(words[1]) ?? 0, item: .benchmark(size: Int(words[2]) ?? 0))
        case ("echo", 2):
            let caller = Instance(endpoint: .benchmark, id: .caller, transport: .tcp(words[1]))
            let request = OutgoingRequest(id: "\(request.id)-back", payload: ByteBuffer(string: "source"))
            return try await network.client.send(request, to: caller)
        case ("idle", 1): return Silence()
        default: throw RemoteError(kind: .invalidArgument, message: PlaneBenchmark.usage)
        }
    }
}

extension EndpointID {
    static let benchmark = EndpointID(namespace: "benchmark", component: "plane", name: "frames")
}

extension InstanceID {
    static let worker = InstanceID(rawValue: 1)
    static let caller = InstanceID(rawValue: 2)
}

extension ResponseItem {
    /// A JSON string of so many bytes.
    static func benchmark(size: Int) -> ResponseItem {
        var text = ByteBuffer(string: "\"")
        text.writeRepeatingByte(UInt8(ascii: "x"), count: max(0, size - 2))
        text.writeString("\"")
        return .data(text)
    }
}

/// The same item again and again.
struct Items: AsyncSequence, Sendable {
    typealias Failure = any Error
    let count: Int
    let item: ResponseItem

    struct Iterator: AsyncIteratorProtocol {
        typealias Failure = any Error
        var rest: Int
        let item: ResponseItem

        mutating func next() async throws -> ResponseItem? {
            guard self.rest > 0 else { return nil }
            self.rest -= 1
            return self.item
        }
    }

    func makeAsyncIterator() -> Iterator { Iterator(rest: self.count, item: self.item) }
}

/// One item, then nothing until the caller goes away.
private struct Silence: AsyncSequence, Sendable {
    typealias Failure = any Error

    struct Iterator: AsyncIteratorProtocol {
        typealias Failure = any Error
        var hasSpoken = false

        mutating func next() async throws -> ResponseItem? {
            guard self.hasSpoken else {
                self.hasSpoken = true
                return .benchmark(size: 64)
            }
            try await Task.sleep(for: .seconds(86_400))
            return nil
        }
    }

    func makeAsyncIterator() -> Iterator { Iterator() }
}
