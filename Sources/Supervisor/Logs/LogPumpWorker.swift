internal import CProcess
internal import Glibc

/// The state of the pump's thread.
///
/// Never leaves it.
struct LogPumpWorker {
    private struct Source {
        var replica: Int
        var run: Int
        var pid: Int32?
        var stream: LogLine.Stream
        var descriptor: Int32
        var spool: LogSpool?
        var splitter = LineSplitter()
    }

    /// A run's `NOTIFY_SOCKET`.
    private struct Ear {
        var replica: Int
        var run: Int
        var leader: Int32
        var marker: String
        var socket: NotifySocket
        var hasComplained = false
    }

    private struct Pattern {
        var replica: Int
        var run: Int
        var index: Int
        var expression: Regex<AnyRegexOutput>
    }

    private static let bellID: UInt64 = 0
    private static let chunk = 64 * 1024
    /// After its processes are gone, a pipe holds at most this much.
    private static let drainLimit = 4 << 20

    private let pump: LogPump
    private let poller: Int32
    private let bell: Int32
    private var sources: [UInt64: Source] = [:]
    private var ears: [UInt64: Ear] = [:]
    private var lastSource: UInt64 = 0
    private var patterns: [Pattern] = []
    private var replicas: [LogPump.Replica]
    private var files: [LogFile]
    private var troubled: Set<Int> = []
    private var isStopping = false
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.chunk, alignment: 16)

    init(pump: LogPump, bell: Int32) {
        self.pump = pump
        self.bell = bell
        self.poller = dynamo_poller_make()
        self.replicas = pump.replicas
        self.files = pump.replicas.map { LogFile(path: $0.logFile) }
        _ = dynamo_poller_add(self.poller, bell, Self.bellID)
    }

    mutating func run() {
        var ready = [UInt64](repeating: 0, count: 64)
        while !self.isStopping {
            let timeout: Int32 = self.troubled.isEmpty ? -1 : 1000
            let count = dynamo_poller_wait(self.poller, &ready, Int32(ready.count), timeout)
            for id in ready.prefix(Int(count)) {
                if id == Self.bellID {
                    dynamo_bell_silence(self.bell)
                } else if self.ears[id] != nil {
                    self.listen(id)
                } else {
                    self.readOnce(id)
                }
            }
            for command in self.pump.takeCommands() { self.perform(command) }
            for replica in self.troubled {
                self.report(self.files[replica].retryIfDue(at: .now), of: replica)
            }
        }
        for id in Array(self.sources.keys) { self.closeSource(id) }
        for ear in self.ears.values { ear.socket.close() }
        for index in self.files.indices { self.files[index].close() }
        close(self.poller)
        self.buffer.deallocate()
    }

    private mutating func perform(_ command: LogPump.Command) {
        switch command {
        case .introduce(let replica):
            self.replicas.append(replica)
            self.files.append(LogFile(path: replica.logFile))
        case .add(let run):
            if let file = run.commandFile { self.writeCommandFile(file.path, file.content, of: run.replica) }
            for (index, pattern) in run.patterns {
                // Validated with the manifest; one that does not compile after all never matches, and its layer says so.
                guard let expression = try? Regex(pattern) else { continue }
                self.patterns.append(
                    Pattern(replica: run.replica, run: run.run, index: index, expression: expression)
                )
            }
            self.addSource(run.stdout, .stdout, run, run.spools?.stdout)
            self.addSource(run.stderr, .stderr, run, run.spools?.stderr)
            self.addEar(run)
        case .finish(let replica, let run):
            for (id, source) in self.sources where source.replica == replica && source.run == run {
                var total = 0
                while total < Self.drainLimit {
                    let count = self.readOnce(id)
                    if count <= 0 { break }
                    total += count
                }
                self.closeSource(id)
            }
            self.patterns.removeAll { $0.replica == replica && $0.run == run }
            for (id, ear) in self.ears where ear.replica == replica && ear.run == run {
                ear.socket.close()
                self.ears[id] = nil
            }
            self.pump.tell(.drained(replica: replica, run: run))
        case .stop:
            self.isStopping = true
        }
    }

    private mutating func addSource(
        _ descriptor: Int32,
        _ stream: LogLine.Stream,
        _ run: LogPump.Run,
        _ spool: LogSpool?
    ) {
        guard descriptor >= 0 else { return }
        self.lastSource += 1
        var source = Source(
            replica: run.replica,
            run: run.run,
            pid: run.pid,
            stream: stream,
            descriptor: descriptor,
            spool: spool
        )
        if run.isAdopted { self.goOn(with: &source) }
        self.sources[self.lastSource] = source
        _ = dynamo_poller_add(self.poller, descriptor, self.lastSource)
    }

    /// Logs what an earlier launcher had read and not logged, and what the keeper has read since.
    private mutating func goOn(with source: inout Source) {
        guard let spool = source.spool else { return }
        let leftover = spool.leftover()
        let before = source.splitter.append(leftover.bytes.prefix(leftover.doubtful))
        let path = self.replicas[source.replica].logFile
        // The launcher may have died after it wrote them and before it could say so.
        let isLogged = LogTail.ends(path, with: before, of: source.stream)
        let after = source.splitter.append(leftover.bytes.dropFirst(leftover.doubtful))
        self.deliver((isLogged ? [] : before) + after, from: source)
        spool.logged(rest: source.splitter.rest)
        spool.trim()
        guard leftover.dropped > 0 else { return }
        let text =
            "[dynamo-launch] \(leftover.dropped) more bytes were written here while there was no launcher, and had no room"
        self.deliver([LineSplitter.Line(bytes: Array(text.utf8), isPartial: false)], from: source)
    }

    // MARK: What runs say of themselves

    private mutating func addEar(_ run: LogPump.Run) {
        guard let socket = run.notify else { return }
        // Was not started: nobody speaks.
        guard let leader = run.pid else { return socket.close() }
        self.lastSource += 1
        self.ears[self.lastSource] = Ear(
            replica: run.replica,
            run: run.run,
            leader: leader,
            marker: run.marker,
            socket: socket
        )
        _ = dynamo_poller_add(self.poller, socket.descriptor, self.lastSource)
    }

    /// Takes messages, not more than a few in a turn, and tells what they say together.
    private mutating func listen(_ id: UInt64) {
        guard let ear = self.ears[id] else { return }
        var said = NotifyMessage()
        for _ in 0..<16 {
            guard let (message, sender) = ear.socket.receive(into: self.buffer) else { break }
            if ProcessTable.isProcess(sender, of: ear.leader, marker: ear.marker) {
                said.add(message)
            } else if message != NotifyMessage(), self.ears[id]?.hasComplained == false {
                self.ears[id]?.hasComplained = true
                self.pump.tell(.strangerNotified(replica: ear.replica, run: ear.run, pid: sender))
            }
        }
        if said != NotifyMessage() { self.pump.tell(.notified(replica: ear.replica, run: ear.run, said)) }
    }

    private mutating func closeSource(_ id: UInt64) {
        guard var source = self.sources.removeValue(forKey: id) else { return }
        if let line = source.splitter.finish() { self.deliver([line], from: source) }
        source.spool?.logged(rest: [])
        source.spool?.close()
        close(source.descriptor)
    }

    /// Returns the number of bytes, 0 at the end, or a negative number when there is nothing now.
    @discardableResult
    private mutating func readOnce(_ id: UInt64) -> Int {
        guard let descriptor = self.sources[id]?.descriptor else { return 0 }
        let spool = self.sources[id]?.spool
        let (count, bytes) = spool?.read(descriptor) ?? self.read(descriptor)
        if count < 0 { return errno == EINTR ? self.readOnce(id) : -1 }
        guard count > 0 else {
            self.closeSource(id)
            return 0
        }
        let lines = self.sources[id]?.splitter.append(bytes) ?? []
        guard let source = self.sources[id] else { return count }
        spool?.beginLogging()
        self.deliver(lines, from: source)
        spool?.logged(rest: source.splitter.rest)
        return count
    }

    private func read(_ descriptor: Int32) -> (count: Int, bytes: UnsafeRawBufferPointer) {
        let count = Glibc.read(descriptor, self.buffer.baseAddress, self.buffer.count)
        return (count, UnsafeRawBufferPointer(rebasing: self.buffer[..<max(0, count)]))
    }

    private mutating func deliver(_ lines: [LineSplitter.Line], from source: Source) {
        guard !lines.isEmpty else { return }
        let time = LogTime.now
        let ascii = time.ascii
        let records = lines.map { LogLine.fileRecord(time: ascii, stream: source.stream, line: $0) }
        self.report(self.files[source.replica].append(records, at: .now), of: source.replica)
        let replica = self.replicas[source.replica]
        let texts = lines.map { line in
            LogLine(
                process: replica.process,
                replica: replica.name,
                pid: source.pid,
                stream: source.stream,
                time: time,
                text: String(decoding: line.bytes, as: UTF8.self),
                isPartial: line.isPartial
            )
        }
        self.match(texts, from: source)
        self.pump.publish(texts, of: source.replica)
    }

    private mutating func match(_ lines: [LogLine], from source: Source) {
        guard !self.patterns.isEmpty else { return }
        self.patterns.removeAll { pattern in
            guard pattern.replica == source.replica, pattern.run == source.run else { return false }
            guard lines.contains(where: { $0.text.firstMatch(of: pattern.expression) != nil }) else { return false }
            self.pump.tell(.matched(replica: pattern.replica, run: pattern.run, index: pattern.index))
            return true
        }
    }

    private mutating func report(_ change: LogFile.Change?, of replica: Int) {
        switch change {
        case .failed(let reason):
            self.troubled.insert(replica)
            let path = self.replicas[replica].logFile
            let text = "\(path) cannot be written: \(reason); the last lines are kept in memory until it can"
            self.pump.tell(.trouble(replica: replica, text))
        case .recovered:
            self.troubled.remove(replica)
            self.pump.tell(.trouble(replica: replica, nil))
        case nil:
            break
        }
    }

    private func writeCommandFile(_ path: String, _ content: [UInt8], of replica: Int) {
        let descriptor = DirectoryMaker.open(path, O_WRONLY | O_CREAT | O_TRUNC)
        let written = descriptor < 0 ? -1 : write(descriptor, content, content.count)
        if written != content.count {
            let code = descriptor < 0 ? -descriptor : errno
            self.pump.tell(.trouble(replica: replica, "\(path) cannot be written: \(errorText(code))"))
        }
        if descriptor >= 0 { close(descriptor) }
    }
}
