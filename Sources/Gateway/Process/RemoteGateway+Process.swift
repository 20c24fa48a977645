import Logging
import NIOCore
import NIOPosix
import Synchronization

/// Keeping the process, and speaking with it.
extension RemoteGateway {
    /// How long a process may take until it answers on its control socket.
    private static let startLimit = Duration.seconds(60)
    /// How long requests may take at a process whose place was not taken before the port was closed.
    private static let lastLimit = Duration.seconds(10)

    private var isOver: Bool { Task.isCancelled || self.state.withLock { $0.isEnding } }

    /// - Returns: why it cannot go on, in words; nil when it was to end.
    func keepServing(_ adopted: GatewayGreeting?, _ superseded: GatewayGreeting?) async -> String? {
        if let adopted {
            self.say(.notice, "the public port is served by pid \(adopted.processID), as before")
            let end = await self.programs.adopt(adopted.processID) {
                // The launcher before this one may have died before it said so.
                await self.talk(adopted) { self.beginAccepting() }
            }
            if self.isOver { return nil }
            let subject = self.subject(adopted.processID)
            self.say(.warning, "\(subject) ended: \(end); it is started again, and connections wait")
        }
        self.state.withLock { $0.superseded = superseded }
        defer { if let old = self.takeSuperseded() { self.leave(old) } }
        var crashes = CrashLoop()
        while true {
            let configuration = self.processConfiguration()
            let end = await self.programs.run(configuration.encoded, sockets: configuration.sockets) { pid in
                await self.converse(with: pid)
            }
            if self.isOver { return nil }
            let pid = self.state.withLock { state in
                defer { state.processID = nil }
                return state.processID
            }
            switch crashes.ended(at: .now) {
            case .startAgain(let pause):
                self.say(.warning, "\(self.subject(pid)) ended: \(end); it is started again, and connections wait")
                try? await Task.sleep(for: pause)
            case .giveUp:
                return
                    "\(self.subject(pid)) ended \(CrashLoop.limit) times within \(CrashLoop.window.components.seconds) s, "
                    + "at last: \(end)"
            }
            if self.isOver { return nil }
        }
    }

    private func subject(_ pid: Int32?) -> String {
        "the process of the public port" + (pid.map { " (pid \($0))" } ?? "")
    }

    private func say(_ level: Logger.Level, _ text: String) { self.logger.log(level: level, "\(text)") }

    private func takeSuperseded() -> GatewayGreeting? {
        self.state.withLock { state in
            defer { state.superseded = nil }
            return state.superseded
        }
    }

    private func processConfiguration() -> (encoded: [UInt8], sockets: [Int32]) {
        let (sockets, awaitsTurn) = self.state.withLock { ($0.sockets.descriptors, $0.superseded != nil) }
        var gateway = self.configuration
        gateway.listeners = self.configuration.listeners.enumerated().map { index, listener in
            .inherited(
                descriptor: Self.firstSocketDescriptor + Int32(index),
                name: listener.isInherited ? listener.name : listener.description,
                tls: listener.tls
            )
        }
        let files = self.configuration.listeners.compactMap { listener -> String? in
            if case .unix(let path, _, _) = listener { path } else { nil }
        }
        let configuration = GatewayProcessConfiguration(
            gateway: gateway,
            identity: self.configuration.identity,
            socketFiles: files,
            controlSocket: self.controlSocket,
            awaitsTurn: awaitsTurn
        )
        return (configuration.encoded, sockets)
    }

    /// Speaks with a process that was started, for as long as it is to serve.
    private func converse(with pid: Int32) async {
        guard let greeting = await self.greeting(of: pid) else { return }
        // They are what it was given.
        for listener in greeting.listeners { GatewayListening.close(listener) }
        self.say(.notice, "the public port is served by a process of its own, pid \(pid)")
        await self.talk(greeting) {
            guard let old = self.takeSuperseded() else { return }
            await self.retire(old)
            self.beginAccepting()
        }
    }

    private func beginAccepting() {
        self.state.withLock { $0.connection }?.send(GatewayCall(id: 0, command: .beginAccepting))
    }

    /// One whose place nobody has taken goes on if only the launcher ends, and not if the port is closed or given up.
    private func leave(_ old: GatewayGreeting) {
        if !Task.isCancelled || self.state.withLock({ $0.isEnding }) { old.send(.drain(within: Self.lastLimit)) }
        GatewayListening.close(old.connection)
    }

    /// Connections wait from here on until the next process is told to accept them: never do two.
    private func retire(_ old: GatewayGreeting) async {
        let isObeyed = try? await NIOThreadPool.singleton.runIfActive { old.ask(.stopAccepting) }
        if isObeyed != true {
            self.say(.warning, "pid \(old.processID), which served the public port before, does not answer")
        }
        self.say(.notice, "pid \(old.processID) served the public port as it was before; it answers what it has")
        old.send(.keepSocketFiles)
        // What it has may take long; nobody waits for it.
        old.send(.drain(within: .seconds(3600)))
        GatewayListening.close(old.connection)
    }

    /// - Returns: nil when it does not answer for too long, or is to end.
    private func greeting(of pid: Int32) async -> GatewayGreeting? {
        let deadline = ContinuousClock.now + Self.startLimit
        let path = self.controlSocket
        while !self.isOver, ContinuousClock.now < deadline {
            let found = try? await NIOThreadPool.singleton.runIfActive { GatewayGreeting.connect(to: path) }
            if let greeting = found ?? nil {
                if greeting.processID == pid { return greeting }
                self.keepSpeaking(with: greeting)
            }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return nil
    }

    /// The process that was there before takes the last connection for its launcher's, and has closed the one before.
    private func keepSpeaking(with greeting: GatewayGreeting) {
        let former = self.state.withLock { state -> GatewayGreeting? in
            guard let old = state.superseded, old.processID == greeting.processID else { return nil }
            state.superseded = greeting
            return old
        }
        guard let former else { return greeting.close() }
        for listener in greeting.listeners { GatewayListening.close(listener) }
        GatewayListening.close(former.connection)
    }

    // MARK: The connection

    /// Speaks with a process until the connection ends; something may be done when it has been told where requests go.
    private func talk(_ greeting: GatewayGreeting, isReached: @Sendable () async -> Void = {}) async {
        let made = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.autoRead, value: false)
            .withConnectedSocket(greeting.connection)
            .flatMap { channel in
                channel.eventLoop.makeCompletedFuture {
                    let connection = try ControlConnection(channel)
                    // What has come by now waits for whoever takes it.
                    channel.setOption(.autoRead, value: true).whenFailure { _ in channel.close(promise: nil) }
                    return connection
                }
            }
        // Only a descriptor that is no socket would be refused.
        guard let connection = try? await made.get() else { return }
        self.connected(greeting, connection)
        await isReached()
        var frames = MessageFrames()
        do throws(MessageFrames.Malformed) {
            for await bytes in connection.bytes {
                frames.append(bytes)
                while let message = try frames.next(GatewayMessage.self) { self.take(message) }
            }
        } catch {
            self.say(.warning, "the process of the public port said what cannot be read: \(error)")
        }
        connection.close()
        self.disconnected()
    }

    private func connected(_ greeting: GatewayGreeting, _ connection: ControlConnection) {
        self.state.withLock { state in
            state.hello = greeting.hello
            state.processID = greeting.processID
            state.connection = connection
            for call in state.calls.connected(to: greeting.hello.traffic) { connection.send(call) }
            // Whoever said so could not tell the process.
            if state.isEnding { connection.close() }
        }
    }

    private func disconnected() {
        let lost = self.state.withLock { state in
            state.connection = nil
            return state.calls.disconnected()
        }
        for answer in lost { answer(nil) }
    }

    private func take(_ message: GatewayMessage) {
        switch message {
        case .hello: break
        case .answer(let id, let answer): self.state.withLock { $0.calls.answered(id) }?(answer)
        case .log(let line):
            self.logger.log(
                level: line.level,
                "\(line.message)",
                metadata: Logger.Metadata(uniqueKeysWithValues: line.metadata.map { ($0, .string($1)) })
            )
        }
    }
}

extension GatewayListener {
    var isInherited: Bool { if case .inherited = self { true } else { false } }

    /// Of a socket that was passed; else empty.
    fileprivate var name: String { if case .inherited(_, let name, _) = self { name } else { "" } }
}
