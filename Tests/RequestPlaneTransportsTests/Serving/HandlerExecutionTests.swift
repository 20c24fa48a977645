import Logging
import NIOCore
import NIOPosix
import RequestPlane
import RequestPlaneTransports
import Synchronization
import TestSupport
import Testing

/// Where handlers run, and where their answers are pulled.
@Suite struct HandlerExecutionTests {
    /// The event loops of two calls of a handler and of the items that it yields; nil for a thread without one.
    private func loops(
        _ execution: HandlerExecution,
        on group: any EventLoopGroup,
        pause: Duration = .zero
    ) async throws -> [ObjectIdentifier?] {
        var configuration = NetworkManager.Configuration.loopback
        configuration.handlerExecution = execution
        let manager = NetworkManager(configuration: configuration, group: group, logger: Logger(label: "test"))
        return try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await manager.run() }
            let seen = Mutex<[ObjectIdentifier?]>([])
            let look: @Sendable () -> Void = {
                let loop = MultiThreadedEventLoopGroup.currentEventLoop.map { ObjectIdentifier($0) }
                seen.withLock { $0.append(loop) }
            }
            let instance = try await Loopback(manager: manager).serve { _ in
                look()
                let next = Counter(0)
                return AsyncThrowingStream<ResponseItem, any Error> {
                    if pause > .zero { try await Task.sleep(for: pause) }
                    look()
                    return next.increment() < 3 ? .data(ByteBuffer(string: "1")) : nil
                }
            }
            for _ in 0..<2 {
                let stream = try await Loopback(manager: manager).send("{}", to: instance)
                #expect(try await stream.texts() == ["1", "1", "1"])
            }
            tasks.cancelAll()
            return seen.withLock { $0 }
        }
    }

    @Test func concurrentByDefault() async throws {
        #expect(NetworkManager.Configuration().handlerExecution == .concurrent)
        let loops = try await self.loops(.concurrent, on: .singletonMultiThreadedEventLoopGroup)
        #expect(loops == Array(repeating: nil, count: 10))
    }

    /// Also after a wait elsewhere.
    @Test(arguments: [Duration.zero, .milliseconds(2)])
    func onTheEventLoopOfTheAnswer(_ pause: Duration) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = ObjectIdentifier(group.next())
        let loops = try await self.loops(.onEventLoop, on: group, pause: pause)
        #expect(loops == Array(repeating: loop, count: 10))
        try await group.shutdownGracefully()
    }
}
