package import Logging
import NIOCore
import NIOPosix
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Starts and ends the processes of gateways.
package protocol GatewayPrograms: Sendable {
    /// Runs a process that serves the public port, and a body with it; whichever ends first ends the other.
    ///
    /// - Parameters:
    ///   - configuration: JSON of a ``GatewayProcessConfiguration``, which it reads from its descriptor
    ///     ``RemoteGateway/configurationDescriptor``.
    ///   - sockets: its descriptors from ``RemoteGateway/firstSocketDescriptor`` on; they stay open here.
    ///   - body: gets the process's number.
    /// - Returns: how it ended, or why it could not be started, in words.
    func run(
        _ configuration: [UInt8],
        sockets: [Int32],
        _ body: @escaping @Sendable (_ processID: Int32) async -> Void
    ) async -> String

    /// Runs a body with a process that an earlier launcher has started; whichever ends first ends the other.
    ///
    /// - Returns: how it ended, in words.
    func adopt(_ processID: Int32, _ body: @escaping @Sendable () async -> Void) async -> String
}

/// The public port, served by a process of its own: requests go on when the launcher does not.
///
/// The process is started again when it ends, with the same sockets, so that connections wait meanwhile instead of being refused.
package final class RemoteGateway: PublicGateway {
    /// Where the process finds its configuration, and the first of its sockets.
    package static let configurationDescriptor: Int32 = 3
    package static let firstSocketDescriptor: Int32 = 4

    enum Phase: Sendable {
        case created
        /// The sockets are open, and nothing serves them yet, or the process of an earlier launcher does.
        case bound(adopted: GatewayGreeting?, superseded: GatewayGreeting?)
        case serving
        case ended
    }

    struct State: Sendable {
        var phase = Phase.created
        /// It is to end, so that the process is not started again.
        var isEnding = false
        var sockets = ListeningSockets([])
        var calls = GatewayCalls<@Sendable (GatewayAnswer?) -> Void>()
        /// To the process.
        var connection: ControlConnection?
        var hello: GatewayHello?
        var processID: Int32?
        /// It accepts connections until the process that is to take its place has been told where requests go.
        var superseded: GatewayGreeting?
        /// As it was told last.
        var status = GatewayStatus()
        var figures: [Int: TrafficFigures] = [:]
        /// Wait for the end.
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    /// How long the process may take for an answer that it has.
    private static let patience = Duration.seconds(2)

    let configuration: GatewayConfiguration
    let controlSocket: String
    let programs: any GatewayPrograms
    let logger: Logger
    let state = Mutex(State())

    /// Creates a gateway of which nothing runs yet.
    ///
    /// - Parameters:
    ///   - configuration: what it listens on, and what it allows.
    ///   - controlSocket: the path of the socket over which the process is told what to do.
    ///   - programs: starts it.
    ///   - logger: gets what it logs, and what becomes of the process.
    package init(
        _ configuration: GatewayConfiguration,
        controlSocket: String,
        programs: any GatewayPrograms,
        logger: Logger
    ) {
        self.configuration = configuration
        self.controlSocket = controlSocket
        self.programs = programs
        self.logger = logger
    }

    // MARK: Life

    package func bind() async throws(GatewayError) {
        let path = self.controlSocket
        let found = try? await NIOThreadPool.singleton.runIfActive { GatewayGreeting.connect(to: path) }
        guard let greeting = found ?? nil else {
            let sockets = try ListeningSockets(opening: self.configuration.listeners)
            return self.bound(sockets, adopted: nil, superseded: nil)
        }
        let known = greeting.hello.identity.listeners
        guard greeting.hello.identity == self.configuration.identity,
            greeting.hello.version == GatewayHello.currentVersion, !greeting.hello.isDraining,
            greeting.listeners.count == known.count
        else {
            // Another process takes its place. Sockets that both have are the same ones: no connection is refused.
            var copies = greeting.listeners.count == known.count ? zip(known, greeting.listeners).map(\.self) : []
            let wanted = self.configuration.identity.listeners.enumerated().map { index, listener in
                guard let same = copies.firstIndex(where: { $0.0 == listener }), !listener.isInherited else {
                    return self.configuration.listeners[index]
                }
                return .inherited(descriptor: copies.remove(at: same).1, name: "\(listener)", tls: listener.tls)
            }
            do throws(GatewayError) {
                let sockets = try ListeningSockets(opening: wanted)
                for (_, copy) in copies { GatewayListening.close(copy) }
                return self.bound(sockets, adopted: nil, superseded: greeting)
            } catch {
                greeting.close()
                throw error
            }
        }
        self.bound(ListeningSockets(greeting.listeners), adopted: greeting, superseded: nil)
    }

    private func bound(_ sockets: ListeningSockets, adopted: GatewayGreeting?, superseded: GatewayGreeting?) {
        self.state.withLock { state in
            state.phase = .bound(adopted: adopted, superseded: superseded)
            state.sockets = sockets
            guard let greeting = adopted ?? superseded else { return }
            // Where requests go does not change before somebody says so.
            state.calls = GatewayCalls(traffic: greeting.hello.traffic)
            state.hello = greeting.hello
            state.processID = greeting.processID
        }
    }

    package var inherited: GatewayTraffic? {
        self.state.withLock { state in
            switch state.phase {
            case .bound(let adopted?, _): adopted.hello.traffic
            case .bound(_, let superseded?): superseded.hello.traffic
            default: nil
            }
        }
    }

    package func serve() async -> String? {
        let phase = self.state.withLock { state in
            defer { state.phase = .serving }
            return state.phase
        }
        guard case .bound(let adopted, let superseded) = phase else { return nil }
        let trouble = await self.keepServing(adopted, superseded)
        self.finish()
        return trouble
    }

    package func drain(within limit: Duration) async {
        let isServing = self.state.withLock { state in
            state.isEnding = true
            switch state.phase {
            case .created, .ended: return false
            case .bound(let adopted, let superseded):
                // Nothing was begun: what runs since before goes on.
                state.sockets.close(removingFiles: adopted == nil && superseded == nil)
                for greeting in [adopted, superseded].compactMap(\.self) { GatewayListening.close(greeting.connection) }
                state.phase = .ended
                return false
            case .serving:
                state.connection?.send(GatewayCall(id: 0, command: .drain(within: limit)))
                return true
            }
        }
        guard isServing else { return }
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                await self.waitUntilEnded()
                return true
            }
            group.addTask {
                try? await Task.sleep(for: limit + Self.patience)
                self.hangUp()
                return false
            }
            // Whoever hangs up waits for the end nevertheless.
            while let isOver = await group.next(), !isOver {}
            group.cancelAll()
        }
    }

    private func waitUntilEnded() async {
        await withCheckedContinuation { continuation in
            let isOver = self.state.withLock { state in
                if case .ended = state.phase { return true }
                state.waiting.append(continuation)
                return false
            }
            if isOver { continuation.resume() }
        }
    }

    /// The process is ended when nobody speaks with it any more.
    private func hangUp() { self.state.withLock { $0.connection }?.close() }

    private func finish() {
        let (answers, waiting) = self.state.withLock { state in
            state.phase = .ended
            state.sockets.close(removingFiles: false)
            state.sockets = ListeningSockets([])
            defer { state.waiting = [] }
            return (state.calls.ended(), state.waiting)
        }
        for answer in answers { answer(nil) }
        for continuation in waiting { continuation.resume() }
    }

    // MARK: Control

    package func setBackends(_ backends: [Backend], shares: [Int: Int]?) {
        self.state.withLock { state in
            let call = state.calls.set(GatewayTraffic(backends: backends, shares: shares))
            // Inside the lock, so that two changes arrive in their order.
            if let call { state.connection?.send(call) }
        }
    }

    package func keepSocketFiles() async {
        self.state.withLock { state in
            if let call = state.calls.keepSocketFiles() { state.connection?.send(call) }
        }
    }

    package func pause(ifIdleFor idle: Duration) async -> Bool {
        if case .done(true)? = await self.ask(.pause(ifIdleFor: idle), within: Self.patience) { true } else { false }
    }

    package func waitUntilIdle(_ backend: Backend, within limit: Duration) async -> Bool {
        let answer = await self.ask(.waitUntilBackendIsIdle(backend, within: limit), within: limit + Self.patience)
        return answer == .done(true)
    }

    package func waitUntilIdle(generation: Int, within limit: Duration) async -> Bool {
        let command = GatewayCommand.waitUntilGenerationIsIdle(generation, within: limit)
        return await self.ask(command, within: limit + Self.patience) == .done(true)
    }

    package func figures(of generation: Int) async -> TrafficFigures {
        guard case .figures(let figures)? = await self.ask(.figures(generation: generation), within: Self.patience)
        else {
            return self.state.withLock { $0.figures[generation] } ?? TrafficFigures()
        }
        self.state.withLock { $0.figures[generation] = figures }
        return figures
    }

    package var idleTime: Duration {
        get async {
            guard case .idleTime(let time)? = await self.ask(.idleTime, within: Self.patience) else { return .zero }
            return time
        }
    }

    package var status: GatewayStatus {
        get async {
            guard case .status(let status)? = await self.ask(.status, within: Self.patience) else {
                return self.state.withLock { $0.status }
            }
            self.state.withLock { $0.status = status }
            return status
        }
    }

    package var addresses: [String] {
        get async { self.state.withLock { $0.hello?.addresses } ?? self.configuration.listeners.map(\.description) }
    }

    package var processID: Int32? { self.state.withLock { $0.processID } }

    package func descriptors() async -> [Int32?] { self.state.withLock { $0.sockets.descriptors } }

    // MARK: Asking

    /// - Returns: nil when no answer came in time, or none can come any more.
    private func ask(_ command: GatewayCommand, within limit: Duration) async -> GatewayAnswer? {
        let id = self.state.withLock { $0.calls.reserve() }
        return await withTaskGroup(of: GatewayAnswer?.self) { group in
            group.addTask { await self.answer(to: command, id) }
            group.addTask {
                try? await Task.sleep(for: limit)
                return nil
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
    }

    private func answer(to command: GatewayCommand, _ id: UInt64) async -> GatewayAnswer? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isRefused = self.state.withLock { state in
                    switch state.calls.ask(id, command, { continuation.resume(returning: $0) }) {
                    case .send(let call):
                        state.connection?.send(call)
                        return false
                    case .wait: return false
                    case .refused: return true
                    }
                }
                if isRefused { return continuation.resume(returning: nil) }
                // The handler may have come before there was something to give up.
                if Task.isCancelled { self.state.withLock { $0.calls.abandon(id) }?(nil) }
            }
        } onCancel: {
            self.state.withLock { $0.calls.abandon(id) }?(nil)
        }
    }
}
