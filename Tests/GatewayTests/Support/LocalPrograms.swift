import Gateway
import Glibc
import Synchronization
import TestSupport

/// Gateways that are processes of their own as far as a launcher can tell: they run here, with copies of the sockets.
final class LocalPrograms: GatewayPrograms {
    private struct State {
        var tasks: [Task<Void, Never>] = []
        var started = 0
        var leaves = false
    }

    private let state = Mutex(State())

    /// How many were started.
    var started: Int { self.state.withLock { $0.started } }

    /// From now on a launcher that is gone ends nothing.
    func leave() { self.state.withLock { $0.leaves = true } }

    /// The last one breaks off.
    func crash() { self.state.withLock { $0.tasks.last }?.cancel() }

    /// Waits until nothing runs any more.
    func end() async {
        for task in self.state.withLock({ $0.tasks }) {
            task.cancel()
            await task.value
        }
    }

    func run(
        _ configuration: [UInt8],
        sockets: [Int32],
        _ body: @escaping @Sendable (_ processID: Int32) async -> Void
    ) async -> String {
        do {
            var read = try GatewayProcessConfiguration(reading: configuration)
            read.gateway.listeners = zip(read.gateway.listeners, sockets).map { listener, socket in
                .inherited(descriptor: fcntl(socket, F_DUPFD_CLOEXEC, 0), name: "test", tls: listener.tls)
            }
            let lines = GatewayLines()
            let gateway = Gateway(read.gateway, logger: lines.logger())
            try await gateway.bind(isAccepting: !read.awaitsTurn)
            let server = GatewayControlServer(gateway, read, lines: lines)
            try await server.bind()
            let (ended, end) = AsyncStream.makeStream(of: Void.self)
            // Owned by this object: it may outlive whoever started it, which is the point.
            let task = Task {
                await server.run()
                end.finish()
            }
            self.state.withLock { state in
                state.tasks.append(task)
                state.started += 1
            }
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await body(getpid()) }
                group.addTask { for await _ in ended {} }
                await group.next()
                group.cancelAll()
            }
            guard !self.state.withLock({ $0.leaves }) else { return "left" }
            task.cancel()
            await task.value
            return "ended"
        } catch { return "\(error)" }
    }

    func adopt(_ processID: Int32, _ body: @escaping @Sendable () async -> Void) async -> String {
        await body()
        return "left"
    }
}
