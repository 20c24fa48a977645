import Logging
import NIOCore
import NIOPosix
import RequestPlane
import RequestPlaneTransports

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// One of the two processes that `request_frames.py` measures: the worker, or the caller of it.
///
/// `DYNAMO_BENCHMARKS=1 swift build -c release --static-swift-stdlib --product plane-benchmark`
@main enum PlaneBenchmark {
    static let usage = """
        usage: plane-benchmark worker
                   serves until its standard input ends; prints ADDRESS, LOOP_ADDRESS and PORT first
               plane-benchmark frames ADDRESS LOOP_ADDRESS PORT WORKER_PID ROUNDS [WAY]
                   measures frames on the request plane and on bare connections; prints
                   a line of JSON for each round
               plane-benchmark streams ADDRESS COUNT
                   opens idle response streams, prints 'open' and keeps them until its standard input ends
        """

    static func main() async throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        Self.raiseDescriptorLimit()
        switch (arguments.first, arguments.count) {
        case ("worker", 1):
            try await Self.withNetwork { network in
                try await Self.withNetwork(.onEventLoop) { try await Worker.run(network, onEventLoop: $0) }
            }
        case ("frames", 6...7):
            guard let port = Int(arguments[3]), let pid = Int32(arguments[4]), let rounds = Int(arguments[5]) else {
                return Self.fail()
            }
            try await Self.withNetwork { network in
                try await Self.withNetwork(.onEventLoop) { loopNetwork in
                    let plane = try await PlaneLoad(network, worker: arguments[1])
                    let loop = try await PlaneLoad(loopNetwork, worker: arguments[2])
                    let bare = BareLoad(port: port)
                    let way = arguments.count > 6 ? arguments[6] : ""
                    for _ in 0..<rounds {
                        Self.say(try await FrameRound.measure(plane, loop, bare, worker: pid, way: way).json)
                    }
                }
            }
        case ("streams", 3):
            guard let count = Int(arguments[2]) else { return Self.fail() }
            try await Self.withNetwork { network in
                let streams = try await PlaneLoad(network, worker: arguments[1]).open(count)
                Self.say("open")
                while readLine() != nil {}
                _ = streams.count
            }
        default: Self.fail()
        }
    }

    /// Prints a line that whoever reads standard output sees at once.
    static func say(_ line: String) {
        print(line)
        fflush(nil)
    }

    private static func fail() {
        print(Self.usage)
        exit(2)
    }

    /// One with handlers on their event loop has one event loop of its own.
    private static func withNetwork(
        _ execution: HandlerExecution = .concurrent,
        _ body: (NetworkManager) async throws -> Void
    ) async throws {
        let logger = Logger(label: "benchmark") { _ in SwiftLogNoOpLogHandler() }
        let environment = ["DYN_TCP_RPC_HOST": "127.0.0.1"]
        var configuration = try NetworkManager.Configuration(environment: environment, logger: logger)
        configuration.handlerExecution = execution
        let group =
            switch execution {
            case .concurrent: MultiThreadedEventLoopGroup.singleton
            case .onEventLoop: MultiThreadedEventLoopGroup(numberOfThreads: 1)
            }
        let network = NetworkManager(configuration: configuration, group: group, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await network.run() }
            try await body(network)
            group.cancelAll()
        }
    }

    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
