import Logging
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

/// Obeys a launcher that is another process, for a gateway in this one.
///
/// One launcher at a time: a new connection takes the place of the one before. While there is none, everything goes on as it was told
/// last.
package final class GatewayControlServer: Sendable {
    private struct State {
        var listener: (any Channel)?
        /// The file of the control socket, as it was made.
        var file: FileIdentity?
        /// The launcher's connection.
        var current: ControlConnection?
        /// Every launcher gets copies of them.
        var sockets: [Int32]
        var socketFiles: [String]
        var traffic = GatewayTraffic()
        /// Nothing is accepted yet.
        var awaitsTurn: Bool
    }

    /// A connection that is not the launcher's.
    private struct Stranger: Error {}

    private let gateway: Gateway
    private let configuration: GatewayProcessConfiguration
    private let lines: GatewayLines
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let state: Mutex<State>
    private let clients: AsyncStream<ControlConnection>
    private let connect: AsyncStream<ControlConnection>.Continuation
    private let drains: AsyncStream<Duration>
    private let drain: AsyncStream<Duration>.Continuation

    /// - Parameters:
    ///   - gateway: which is bound already.
    ///   - configuration: what it was started with.
    ///   - lines: its log.
    package init(_ gateway: Gateway, _ configuration: GatewayProcessConfiguration, lines: GatewayLines) {
        self.gateway = gateway
        self.configuration = configuration
        self.lines = lines
        (self.clients, self.connect) = AsyncStream.makeStream(of: ControlConnection.self)
        (self.drains, self.drain) = AsyncStream.makeStream(of: Duration.self, bufferingPolicy: .bufferingOldest(1))
        let sockets = configuration.gateway.listeners.compactMap { listener -> Int32? in
            if case .inherited(let descriptor, _, _) = listener { descriptor } else { nil }
        }
        self.state = Mutex(
            State(
                sockets: sockets,
                socketFiles: configuration.socketFiles,
                awaitsTurn: configuration.awaitsTurn
            )
        )
    }

    /// Opens the control socket, for this user only; commands are obeyed from ``run()`` on.
    ///
    /// - Throws: `GatewayError` when it cannot be opened.
    package func bind() async throws(GatewayError) {
        let path = self.configuration.controlSocket
        let place = GatewayListener.unix(path: path)
        do {
            // Left by a process that is gone, or that this one takes the place of.
            unlink(path)
            let socket = try GatewayListening.bind(path, mode: 0o600)
            let listener = try await ServerBootstrap(group: self.group)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try self.greet(channel)
                        self.connect.yield(try ControlConnection(channel))
                    }
                }
                .withBoundSocket(socket).get()
            self.state.withLock { ($0.listener, $0.file) = (listener, FileIdentity(path)) }
        } catch { throw place.error(error) }
    }

    /// Looks who it is, and passes the sockets on: what NIO cannot.
    private func greet(_ channel: any Channel) throws {
        let isWelcome = try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
            of: NIOBSDSocket.Handle.self
        ) { socket in
            guard let peer = DescriptorPassing.peer(of: socket), peer.userID == geteuid() || peer.userID == 0 else {
                return false
            }
            return self.state.withLock { DescriptorPassing.send($0.sockets, over: socket) }
        }
        guard isWelcome == true else { throw Stranger() }
    }

    /// Serves, the gateway too, until it is drained or the task is cancelled.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.accept() }
            group.addTask {
                for await limit in self.drains { await self.close(within: limit) }
            }
            await self.gateway.run()
            group.cancelAll()
        }
        // Another process may have taken this one's place, and have its own socket there.
        let (path, file) = (self.configuration.controlSocket, self.state.withLock { $0.file })
        if let file, FileIdentity(path) == file { unlink(path) }
        try? await self.group.shutdownGracefully()
    }

    /// Which file is at a path.
    private struct FileIdentity: Sendable, Equatable {
        private let device: UInt64
        private let inode: UInt64

        /// Nil when there is none.
        init?(_ path: String) {
            var information = stat()
            guard lstat(path, &information) == 0 else { return nil }
            (self.device, self.inode) = (UInt64(information.st_dev), UInt64(information.st_ino))
        }
    }

    /// Closes the port and answers what is running; ``run()`` returns then.
    package func requestDrain(within limit: Duration) { self.drain.yield(limit) }

    private func close(within limit: Duration) async {
        let files = self.state.withLock { state in
            defer { (state.sockets, state.socketFiles) = ([], []) }
            return state.socketFiles
        }
        for file in files { unlink(file) }
        await self.gateway.drain(within: limit)
    }

    private func accept() async {
        await withDiscardingTaskGroup { group in
            for await client in self.clients { group.addTask { await self.serve(client) } }
        }
        try? await self.state.withLock { $0.listener }?.close()
    }

    // MARK: One launcher

    private var hello: GatewayHello {
        GatewayHello(
            processID: getpid(),
            addresses: self.gateway.addresses,
            identity: self.configuration.identity,
            traffic: self.state.withLock { $0.traffic },
            isDraining: self.gateway.status.isDraining
        )
    }

    private func serve(_ client: ControlConnection) async {
        let previous = self.state.withLock { state in
            defer { state.current = client }
            return state.current
        }
        previous?.close()
        client.send(GatewayMessage.hello(self.hello))
        await withDiscardingTaskGroup { group in
            group.addTask { await self.sendLines(client) }
            var frames = MessageFrames()
            do throws(MessageFrames.Malformed) {
                for await bytes in client.bytes {
                    frames.append(bytes)
                    while let call = try frames.next(GatewayCall.self) { self.take(call, client, &group) }
                }
            } catch {
                self.lines.put(GatewayLogLine(.warning, "a launcher said what is no command", ["reason": "\(error)"]))
            }
            group.cancelAll()
        }
        client.close()
        let isLeft = self.state.withLock { state in
            guard state.current?.channel === client.channel else { return false }
            state.current = nil
            return true
        }
        // Nobody else will tell it to.
        if isLeft { await self.takeTurn() }
    }

    private func takeTurn() async {
        let awaited = self.state.withLock { state in
            defer { state.awaitsTurn = false }
            return state.awaitsTurn
        }
        if awaited { await self.gateway.beginAccepting() }
    }

    private func sendLines(_ client: ControlConnection) async {
        for await _ in self.lines.bell() {
            for line in self.lines.take() { client.send(GatewayMessage.log(line)) }
        }
    }

    /// What changes something is done at once, so that it is done in order; the rest may wait for long.
    private func take(
        _ call: GatewayCall,
        _ client: ControlConnection,
        _ group: inout DiscardingTaskGroup
    ) {
        switch call.command {
        case .setTraffic(let traffic):
            self.state.withLock { state in
                state.traffic = traffic
                self.gateway.setBackends(traffic.backends, shares: traffic.shares)
            }
        case .keepSocketFiles: self.state.withLock { $0.socketFiles = [] }
        case .drain(let limit): self.requestDrain(within: limit)
        default:
            group.addTask {
                guard let answer = await self.answer(call.command) else { return }
                // Who is gone will ask again.
                client.send(GatewayMessage.answer(id: call.id, answer))
            }
        }
    }

    private func answer(_ command: GatewayCommand) async -> GatewayAnswer? {
        switch command {
        case .setTraffic, .keepSocketFiles, .drain: return nil
        case .beginAccepting:
            await self.takeTurn()
            return nil
        case .stopAccepting:
            await self.gateway.stopAccepting()
            return .done(true)
        case .pause(let idle): return .done(await self.gateway.pause(ifIdleFor: idle))
        case .waitUntilBackendIsIdle(let backend, let limit):
            return .done(await self.gateway.waitUntilIdle(backend, within: limit))
        case .waitUntilGenerationIsIdle(let generation, let limit):
            return .done(await self.gateway.waitUntilIdle(generation: generation, within: limit))
        case .figures(let generation): return .figures(self.gateway.figures(of: generation))
        case .idleTime: return .idleTime(self.gateway.idleTime)
        case .status: return .status(self.gateway.status)
        }
    }
}
