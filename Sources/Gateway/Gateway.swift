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

/// The public HTTP port: passes each request to a backend, and lets requests wait while there is none.
///
/// ``bind()`` opens the listeners, ``run()`` serves until it is cancelled or ``drain(within:)`` has ended.
package final class Gateway: Sendable {
    private struct State {
        var group: MultiThreadedEventLoopGroup?
        var listening: [any Channel] = []
        var addresses: [String] = []
        /// Files of Unix sockets that are open.
        var paths: [String] = []
        var certificates: [CertificateStore] = []
        var drain = Drain.notBegun
    }

    /// Whether somebody has asked it to end, and who else waits for that.
    private enum Drain {
        case notBegun
        case underWay(waiting: [CheckedContinuation<Void, Never>])
        case done
    }

    private let core: GatewayCore
    private let state = Mutex(State())
    private let ended: AsyncStream<Void>
    private let end: AsyncStream<Void>.Continuation

    /// Creates a gateway that does not listen yet.
    package init(_ configuration: GatewayConfiguration, logger: Logger) {
        self.core = GatewayCore(configuration, logger: logger)
        (self.ended, self.end) = AsyncStream.makeStream(of: Void.self)
    }

    // MARK: Life

    /// Opens the listeners; requests are held from then on until there are backends.
    ///
    /// - Parameter isAccepting: whether connections are accepted at once, or wait for ``beginAccepting()``.
    /// - Throws: `GatewayError` with the listener that cannot be opened; none is open then.
    package func bind(isAccepting: Bool) async throws(GatewayError) {
        let configuration = self.core.configuration
        var certificates: [CertificateStore?] = []
        for listener in configuration.listeners {
            if let files = listener.tls {
                certificates.append(try CertificateStore(files, for: listener))
            } else {
                certificates.append(nil)
            }
        }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: max(1, configuration.threads))
        self.state.withLock { state in
            state.group = group
            state.certificates = certificates.compactMap(\.self)
        }
        let lanes = await self.makeLanes(group)
        let listening = GatewayListening(core: self.core, group: group, lanes: lanes, isAccepting: isAccepting)
        for (listener, certificate) in zip(configuration.listeners, certificates) {
            do {
                let (channel, address) = try await listening.open(listener, certificate)
                self.state.withLock { state in
                    state.listening.append(channel)
                    state.addresses.append(address)
                    if case .unix(let path, _, _) = listener { state.paths.append(path) }
                }
            } catch {
                await self.close()
                throw error
            }
        }
    }

    /// The same, accepting connections at once.
    package func bind() async throws(GatewayError) { try await self.bind(isAccepting: true) }

    private func makeLanes(_ group: MultiThreadedEventLoopGroup) async -> [ObjectIdentifier: NIOLoopBound<Lane>] {
        var lanes: [ObjectIdentifier: NIOLoopBound<Lane>] = [:]
        for eventLoop in group.makeIterator() {
            let core = self.core
            let lane = eventLoop.submit {
                NIOLoopBound(Lane(core: core, eventLoop: eventLoop), eventLoop: eventLoop)
            }
            // Only an event loop that is shut down refuses.
            if let lane = try? await lane.get() { lanes[ObjectIdentifier(eventLoop)] = lane }
        }
        self.core.setLanes(Array(lanes.values))
        return lanes
    }

    /// Where it listens, for display.
    package var addresses: [String] { self.state.withLock { $0.addresses } }

    /// The port of the first TCP listener; nil when there is none.
    package var port: Int? {
        self.state.withLock { $0.listening.compactMap { $0.localAddress?.port }.first }
    }

    /// The descriptor of each listener, in the order of the configuration; each is open for as long as the gateway listens.
    package func descriptors() async -> [Int32?] {
        var descriptors: [Int32?] = []
        for channel in self.state.withLock({ $0.listening }) {
            let descriptor = channel.eventLoop.submit {
                try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { $0 }
            }
            descriptors.append(try? await descriptor.get())
        }
        return descriptors
    }

    /// Files of Unix sockets stay when the listeners close, because somebody else has the sockets too.
    package func keepSocketFiles() { self.state.withLock { $0.paths = [] } }

    /// Serves until it is cancelled, which cuts what is running, or drained.
    package func run() async {
        for await _ in self.ended {}
        await self.close()
    }

    /// Takes no new connections, answers what is running and says that connections end; ``run()`` returns afterwards.
    ///
    /// When it is asked several times, everybody waits for the end of the first one: two generations are stopped at the same time.
    ///
    /// - Parameter limit: how long requests may take; what is not answered by then is cut.
    package func drain(within limit: Duration) async {
        let isFirst = self.state.withLock { state in
            guard case .notBegun = state.drain else { return false }
            state.drain = .underWay(waiting: [])
            return true
        }
        guard isFirst else { return await self.waitUntilDrained() }
        self.core.beginDraining()
        await self.closeListeners()
        // So that what was accepted last is known.
        await self.core.settle()
        await self.core.connections.drain(within: limit)
        self.end.finish()
        let waiting = self.state.withLock { state in
            guard case .underWay(let waiting) = state.drain else { return [CheckedContinuation<Void, Never>]() }
            state.drain = .done
            return waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    private func waitUntilDrained() async {
        await withCheckedContinuation { continuation in
            let isDone = self.state.withLock { state in
                guard case .underWay(let waiting) = state.drain else { return true }
                state.drain = .underWay(waiting: waiting + [continuation])
                return false
            }
            if isDone { continuation.resume() }
        }
    }

    private func closeListeners() async {
        let (channels, paths) = self.state.withLock { state in
            defer { (state.listening, state.paths) = ([], []) }
            return (state.listening, state.paths)
        }
        // While it is still ours: once the socket is closed, another process may put its own there.
        for path in paths { unlink(path) }
        for channel in channels { try? await channel.close() }
    }

    private func close() async {
        await self.closeListeners()
        await self.core.connections.closeAll()
        self.core.closeLanes()
        let group = self.state.withLock { state in
            defer { state.group = nil }
            return state.group
        }
        try? await group?.shutdownGracefully()
    }

    // MARK: Idleness

    /// For how long no request has been here, waiting ones included; zero while one is.
    package var idleTime: Duration { self.core.idleTime }

    /// Accepts no more connections, unless a client is in the middle of something, has just connected, or a request was here meanwhile.
    ///
    /// Connections that come then wait in the system's queue, for whoever else has the socket.
    ///
    /// - Parameter idle: for how long no request must have been here.
    /// - Returns: whether it is so; otherwise connections are accepted as before.
    package func pause(ifIdleFor idle: Duration) async -> Bool {
        await self.setAccepting(false)
        // What was accepted last is looked at too.
        await self.core.settle()
        if await !self.core.connections.isAnyBusy(), self.core.idleTime >= idle { return true }
        await self.setAccepting(true)
        return false
    }

    /// Leaves connections that come to whoever else has the sockets; what was accepted is served.
    package func stopAccepting() async { await self.setAccepting(false) }

    /// Accepts connections after ``stopAccepting()``, or when ``bind(isAccepting:)`` did not.
    package func beginAccepting() async { await self.setAccepting(true) }

    private func setAccepting(_ isAccepting: Bool) async {
        for channel in self.state.withLock({ $0.listening }) {
            // Only fails on one that is closed.
            try? await channel.setOption(.autoRead, value: isAccepting).get()
        }
    }

    // MARK: Control

    /// Replaces the backends that get requests.
    ///
    /// - Parameters:
    ///   - backends: the ready ones; none: requests are held. Requests at others finish there, and idle connections to them are closed at
    ///     once, so that a backend may be stopped afterwards.
    ///   - shares: which share of the requests each generation gets, as weights by its number (percents, if they are 100 together). The
    ///     generation is chosen for each request, exactly and evenly, then its least busy backend. One without a weight above zero gets
    ///     nothing new, but its backends stay known and are asked how they are, so that it can get requests again at once; its idle
    ///     connections end by themselves, within seconds. What a generation cannot take because it refuses connections goes to the other
    ///     ones that have a weight; when none has, requests are held. nil: all backends are equal.
    package func setBackends(_ backends: [Backend], shares: [Int: Int]? = nil) {
        self.core.setBackends(backends, shares: shares)
    }

    /// Requests that the backends of a generation have, whether they still get new ones or not.
    package func outstanding(generation: Int) -> Int { self.core.outstanding(generation: generation) }

    /// What was counted of each generation that had or may get requests, by its number, all at the same moment.
    package var figures: [Int: TrafficFigures] { self.core.figures }

    /// What was counted of all backends that a generation has had; all zero for one that had none.
    package func figures(of generation: Int) -> TrafficFigures { self.core.figures(of: generation) }

    /// Waits until a backend that was removed has answered everything it was sent.
    ///
    /// Only then may its process be told to stop: a request that the system has taken for a process, and that the process has not read
    /// when it closes its socket, is lost, and nobody can tell whether it was executed.
    ///
    /// - Parameters:
    ///   - backend: one that ``setBackends(_:shares:)`` has removed.
    ///   - limit: how long to wait at most.
    /// - Returns: whether it has nothing left; false also when the task was cancelled before.
    package func waitUntilIdle(_ backend: Backend, within limit: Duration) async -> Bool {
        await Self.wait(within: limit) { self.core.outstanding(at: backend) == 0 }
    }

    /// Waits until all backends of a generation have answered everything they were sent.
    ///
    /// - Parameters:
    ///   - generation: one that gets nothing new any more: ``setBackends(_:shares:)`` has removed its backends, or given it no share.
    ///   - limit: how long to wait at most.
    /// - Returns: whether it has nothing left; false also when the task was cancelled before.
    package func waitUntilIdle(generation: Int, within limit: Duration) async -> Bool {
        await Self.wait(within: limit) { self.core.outstanding(generation: generation) == 0 }
    }

    private static func wait(within limit: Duration, until isIdle: () -> Bool) async -> Bool {
        let deadline = ContinuousClock.now + limit
        while !isIdle() {
            guard ContinuousClock.now < deadline else { return false }
            do { try await Task.sleep(for: .milliseconds(10)) } catch { return false }
        }
        return true
    }

    /// Reads certificates and keys again; open connections keep what they began with.
    ///
    /// - Throws: `GatewayError` for the first listener whose files cannot be used; it keeps what it has.
    package func reloadCertificates() throws(GatewayError) {
        for certificate in self.state.withLock({ $0.certificates }) { try certificate.reload() }
    }

    /// What it does at the moment.
    package var status: GatewayStatus { self.core.status }
}
