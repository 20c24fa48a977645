import Deployment
import Dispatch
import FoundationEssentials
import Glibc
import Supervisor
import UnixSignals

/// Runs the terminal view: one loop over what happens, around a model that decides.
struct TopLoop: Sendable {
    enum Ending: Sendable, Hashable {
        /// A person left.
        case left
        /// The program was told to end.
        case signal(Int32)
    }

    private enum Event: Sendable {
        case status(DeploymentStatus, [LaunchEvent])
        case failed(String)
        case gpuMemory([String: Int]?)
        case keys([UInt8])
        /// Nobody is at the terminal any more.
        case keysEnded
        case signal(UnixSignal)
        case outlined(OrderOutline, ProcessOrder, String)
        case said(String, isBad: Bool)
        case log([String], of: String)
    }

    let deployment: RunningDeployment
    let interval: Duration
    let environment: [String: String]
    /// The file of events.
    let events: String

    private static let firstEvents = 50
    private static let logLines = 200
    private static let gpuInterval = Duration.seconds(2)

    /// Shows the deployment until a person leaves or the program is told to end; the terminal is as before then.
    func run() async -> Ending {
        let signals = await UnixSignalsSequence(trapping: [
            .sigint, .sigterm, .sighup, .sigquit, .sigwinch, .sigcont,
        ])
        let (events, sender) = AsyncStream.makeStream(of: Event.self)
        WholeScreen.enter()
        defer { WholeScreen.leave() }
        let keys = WholeScreen.hasKeys ? Self.readKeys(sender) : nil
        defer { keys?.cancel() }
        return await withDiscardingTaskGroup { group in
            group.addTask { for await signal in signals { sender.yield(.signal(signal)) } }
            group.addTask { await self.look(sender) }
            if let gpus = TopGPUMemory.find(self.environment) {
                group.addTask { await self.look(at: gpus, sender) }
            }
            defer { group.cancelAll() }
            var model = TopModel(deployment: self.deployment.name)
            var decoder = TopKeys()
            self.draw(model)
            for await event in events {
                let (actions, ending) = Self.take(event, &model, &decoder)
                if let ending { return ending }
                for action in actions {
                    switch action {
                    case .quit: return .left
                    case .suspend: Self.suspend()
                    case .outline(let order, let name): group.addTask { await self.outline(order, name, sender) }
                    case .obey(let order, let name): group.addTask { await self.obey(order, name, sender) }
                    case .readLog(let name): group.addTask { await self.readLog(of: name, sender) }
                    }
                }
                self.draw(model)
            }
            return .left
        }
    }

    private static func take(
        _ event: Event,
        _ model: inout TopModel,
        _ decoder: inout TopKeys
    ) -> ([TopModel.Action], Ending?) {
        switch event {
        case .status(let status, let news):
            model.take(news)
            return (model.take(status, at: .now), nil)
        case .failed(let trouble): model.fail(trouble)
        case .gpuMemory(let memory): model.take(gpuMemory: memory)
        case .keys(let bytes): return (decoder.decode(bytes).flatMap { model.press($0) }, nil)
        case .keysEnded: return ([], .signal(SIGHUP))
        case .signal(.sigint): return ([], .signal(SIGINT))
        case .signal(.sigterm): return ([], .signal(SIGTERM))
        case .signal(.sighup): return ([], .signal(SIGHUP))
        case .signal(.sigquit): return ([], .signal(SIGQUIT))
        case .signal(.sigcont): WholeScreen.enter()
        // Another size: drawn again.
        case .signal: break
        case .outlined(let outline, let order, let name): model.take(outline, of: order, name)
        case .said(let words, let isBad): model.say(words, isBad: isBad)
        case .log(let lines, let name): model.take(log: lines, of: name)
        }
        return ([], nil)
    }

    private func draw(_ model: TopModel) {
        let (columns, rows) = TerminalSize.now(environment: self.environment)
        var style = MigrationView.Style()
        // A line as wide as the terminal would leave the cursor in doubt.
        style.width = max(1, columns - 1)
        style.height = max(1, rows)
        style.colour = Terminal.colour(on: STDOUT_FILENO, environment: self.environment)
        style.unicode = MigrationOutput.showsUnicode(self.environment)
        WholeScreen.show(TopScreen(style: style).text(model))
    }

    /// Ctrl-Z: the terminal is the shell's until the program goes on.
    private static func suspend() {
        WholeScreen.leave()
        // To this thread, so that the program stops here and not a little later.
        WholeScreen.raise(SIGTSTP)
        WholeScreen.enter()
    }

    // MARK: Sources of events

    private static func readKeys(_ sender: AsyncStream<Event>.Continuation) -> any DispatchSourceRead {
        let source = DispatchSource.makeReadSource(fileDescriptor: STDIN_FILENO)
        source.setEventHandler {
            var bytes = [UInt8](repeating: 0, count: 256)
            let count = Glibc.read(STDIN_FILENO, &bytes, bytes.count)
            if count > 0 {
                sender.yield(.keys(Array(bytes[..<count])))
            } else if count == 0 || (errno != EINTR && errno != EAGAIN) {
                source.cancel()
                sender.yield(.keysEnded)
            }
        }
        source.activate()
        return source
    }

    private func look(_ sender: AsyncStream<Event>.Continuation) async {
        let clock = ContinuousClock()
        var (news, reader) = EventLog.events(in: self.events, last: Self.firstEvents) { _ in true }
        while !Task.isCancelled {
            let began = clock.now
            do {
                let status = try await self.deployment.client.status(measures: true)
                sender.yield(.status(status, news))
                news = []
            } catch {
                sender.yield(.failed("\(error)"))
            }
            try? await clock.sleep(until: began + self.interval)
            news += reader.next()
        }
    }

    private func look(at gpus: TopGPUMemory, _ sender: AsyncStream<Event>.Continuation) async {
        while !Task.isCancelled {
            if let status = try? await self.deployment.client.status() {
                sender.yield(.gpuMemory(await gpus.byReplica(status)))
            }
            try? await Task.sleep(for: Self.gpuInterval)
        }
    }

    // MARK: Orders

    private func outline(
        _ order: ProcessOrder,
        _ name: String,
        _ sender: AsyncStream<Event>.Continuation
    ) async {
        do {
            try await self.deployment.client.obey(order, [name], dryRun: true) { outline in
                sender.yield(.outlined(outline, order, name))
            } receive: { _ in
            }
        } catch {
            sender.yield(.said("\(error)", isBad: true))
        }
    }

    /// What is begun goes on in the launcher, whatever becomes of this.
    private func obey(_ order: ProcessOrder, _ name: String, _ sender: AsyncStream<Event>.Continuation) async {
        do {
            try await self.deployment.client.obey(order, [name]) { progress in
                let isBad = progress.phase == .failed || progress.phase == .reverting
                let words = "\(order.rawValue) \(name): \(progress.phase.rawValue)"
                sender.yield(.said(words + (progress.reason.map { ": \($0)" } ?? ""), isBad: isBad))
            }
        } catch {
            if !Task.isCancelled { sender.yield(.said("\(error)", isBad: true)) }
        }
    }

    private func readLog(of name: String, _ sender: AsyncStream<Event>.Continuation) async {
        var lines: [String] = []
        do {
            try await self.deployment.client.logs(of: name, lines: Self.logLines) { line in
                lines.append("\(line.text)")
            }
            sender.yield(.log(lines, of: name))
        } catch {
            if !Task.isCancelled { sender.yield(.log(["\(error)"], of: name)) }
        }
    }
}
