package import Deployment
internal import FoundationEssentials
internal import Glibc
internal import NIOCore

/// Asks a running launcher over its control socket.
package struct ControlClient: Sendable {
    /// What to wait for before the status is answered.
    package enum Wait: String, Sendable, Hashable {
        /// Ready, failed or stopped.
        case ready
        case stopped
    }

    /// Why there is no answer.
    package struct Failure: Error, Sendable, CustomStringConvertible {
        package var description: String
        /// Nobody serves the socket: no launcher runs this deployment.
        package var isNotRunning: Bool
    }

    package let socket: String

    package init(socket: String) {
        self.socket = socket
    }

    /// The client of a deployment on this machine.
    package init(_ directories: DeploymentDirectories) {
        self.init(socket: directories.controlSocket)
    }

    /// Whether a launcher has the deployment, also one that does not answer; it is not asked.
    package var hasLauncher: Bool {
        access(self.socket, F_OK) == 0 && !DeploymentLock.hasNoLauncher(path: self.lock)
    }

    /// The launcher that had the deployment last, when it did not come to an end of its own: it was killed, or crashed.
    package var lostLauncher: Int32? {
        DeploymentLock.hasNoLauncher(path: self.lock) ? DeploymentLock.holder(path: self.lock) : nil
    }

    /// The status, at once or after a wait.
    ///
    /// - Parameters:
    ///   - wait: what to wait for; nil answers at once.
    ///   - timeout: the longest wait; the status is then answered as it is.
    ///   - measures: whether to say what processes use.
    /// - Returns: the status.
    /// - Throws: `Failure` when no launcher answers.
    package func status(
        waitingFor wait: Wait? = nil,
        timeout: Duration? = nil,
        measures: Bool = false
    ) async throws -> DeploymentStatus {
        var query: [String] = measures ? ["use=true"] : []
        if let wait { query.append("wait=\(wait.rawValue)") }
        if let timeout { query.append("timeout=\(timeout.inSeconds)") }
        // A launcher that is alive answers at once; one that is suspended must not hold its callers up.
        let limit: Duration? = wait == nil ? .seconds(5) : timeout.map { $0 + .seconds(5) }
        return try await self.ask("GET", "/v1/status", query, within: limit)
    }

    /// What the launcher runs.
    ///
    /// - Returns: the plan, secrets masked.
    /// - Throws: `Failure` when no launcher answers.
    package func plan() async throws -> Plan {
        try await self.ask("GET", "/v1/plan", [])
    }

    /// Stops the deployment.
    ///
    /// - Parameters:
    ///   - now: kill instead of asking the processes to end.
    ///   - wait: answer when all is stopped.
    /// - Returns: the status afterwards.
    /// - Throws: `Failure` when no launcher answers.
    package func stop(now: Bool = false, wait: Bool = true) async throws -> DeploymentStatus {
        try await self.ask("POST", "/v1/stop", wait ? [] : ["wait=false"], body: "{\"now\":\(now)}")
    }

    /// Restarts, stops or starts processes, one replica after another, each ready or gone before the next.
    ///
    /// What was begun goes on when the task is cancelled.
    ///
    /// - Parameters:
    ///   - order: which of the three.
    ///   - processes: names of processes or replicas.
    ///   - dryRun: only say what would be done.
    ///   - begin: called with what is done.
    ///   - receive: called with each step; the last one is `done` or `failed`.
    /// - Throws: `Failure` when no launcher answers, when a name is unknown, or when another change is under way.
    package func obey(
        _ order: ProcessOrder,
        _ processes: [String],
        dryRun: Bool = false,
        begin: (OrderOutline) async throws -> Void = { _ in },
        receive: (RolloutProgress) async throws -> Void
    ) async throws {
        let path =
            switch order {
            case .restart: "/v1/restart"
            case .stop: "/v1/stop-processes"
            case .start: "/v1/start"
            }
        let body = try JSONEncoder().encode(["processes": processes])
        try await self.rollout(path, dryRun: dryRun, body: Array(body), begin: begin, receive: receive)
    }

    /// Sends processes a signal.
    ///
    /// - Parameters:
    ///   - signal: its number.
    ///   - processes: names of processes or replicas.
    ///   - dryRun: only say who would get it.
    /// - Returns: who got it.
    /// - Throws: `Failure` when no launcher answers or a name is unknown.
    package func send(_ signal: Int32, to processes: [String], dryRun: Bool = false) async throws -> SignalReport {
        struct Body: Encodable {
            var processes: [String]
            var signal: Int32
        }
        let body = try JSONEncoder().encode(Body(processes: processes, signal: signal))
        return try await self.ask(
            "POST",
            "/v1/signal",
            dryRun ? ["dryRun=true"] : [],
            body: String(decoding: body, as: UTF8.self)
        )
    }

    /// Changes how many replicas processes have.
    ///
    /// - Parameters:
    ///   - counts: by the names of processes.
    ///   - dryRun: only say what would be done.
    ///   - begin: as for ``apply(dryRun:begin:receive:)``.
    ///   - receive: the same.
    /// - Throws: as ``apply(dryRun:begin:receive:)``.
    package func scale(
        _ counts: [String: Int],
        dryRun: Bool,
        begin: (PlanChange) async throws -> Void,
        receive: (RolloutProgress) async throws -> Void
    ) async throws {
        let body = try JSONEncoder().encode(["replicas": counts])
        try await self.rollout("/v1/scale", dryRun: dryRun, body: Array(body), begin: begin, receive: receive)
    }

    /// Makes the deployment match its manifest as it is now.
    ///
    /// What was begun goes on when the task is cancelled.
    ///
    /// - Parameters:
    ///   - dryRun: only say what would be done.
    ///   - begin: called with what is changed.
    ///   - receive: called with each step; the last one is `done` or `failed`. Never called when there is nothing to do.
    /// - Throws: `Failure` when no launcher answers, when the manifest has errors, when something cannot be changed, or when another change
    ///   is under way.
    package func apply(
        dryRun: Bool,
        begin: (PlanChange) async throws -> Void,
        receive: (RolloutProgress) async throws -> Void
    ) async throws {
        try await self.rollout("/v1/apply", dryRun: dryRun, body: nil, begin: begin, receive: receive)
    }

    /// Reads what is to be done, and then each step.
    private func rollout<Outline: Decodable>(
        _ path: String,
        dryRun: Bool,
        body: [UInt8]?,
        begin: (Outline) async throws -> Void,
        receive: (RolloutProgress) async throws -> Void
    ) async throws {
        let request = HTTPRequest(
            target: .unix(path: self.socket),
            method: "POST",
            path: dryRun ? "\(path)?dryRun=true" : path,
            body: body
        )
        let decoder = JSONDecoder()
        try await self.stream(request) { line in
            let data = Data(line)
            if let outline = try? decoder.decode(Outline.self, from: data) {
                try await begin(outline)
            } else if let progress = try? decoder.decode(RolloutProgress.self, from: data) {
                try await receive(progress)
            }
        }
    }

    /// Has the launcher put another program in its own place.
    ///
    /// - Parameter binary: its absolute path.
    /// - Throws: `Failure` when it does not, with the reason.
    package func upgrade(to binary: String) async throws {
        let body = String(decoding: try JSONEncoder().encode(["binary": binary]), as: UTF8.self)
        let request = HTTPRequest(
            target: .unix(path: self.socket),
            method: "POST",
            path: "/v1/upgrade",
            body: Array(body.utf8)
        )
        let answer: HTTPAnswer
        do { answer = try await HTTPClient.send(request, timeout: .seconds(60)) } catch {
            // The program that was to answer is gone: this is how it says yes.
            if error.isEnd { return }
            throw self.failure(error)
        }
        throw Self.refusal(answer)
    }

    /// Waits until the launcher of the deployment has ended, so that another one may start.
    ///
    /// - Parameter limit: the longest wait.
    /// - Throws: `Failure` when it goes on.
    package func waitUntilReleased(within limit: Duration = .seconds(15)) async throws {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            if DeploymentLock.isFree(path: self.lock) { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw Failure(
            description: "its launcher has not ended within \(limit.inSeconds.shortWords) s",
            isNotRunning: false
        )
    }

    /// The last log lines, and, if wanted, those that come, until the deployment ends or the task is cancelled.
    ///
    /// - Parameters:
    ///   - process: a process or replica; nil for all.
    ///   - lines: how many lines of the past.
    ///   - follow: whether to go on with what comes.
    ///   - caughtUp: called between the lines of the past and those that come.
    ///   - receive: called with each line.
    /// - Throws: `Failure` when no launcher answers.
    package func logs(
        of process: String? = nil,
        lines: Int = 100,
        follow: Bool = false,
        caughtUp: () async throws -> Void = {},
        receive: (LogLine) async throws -> Void
    ) async throws {
        var query = ["lines=\(lines)", "follow=\(follow)"]
        if let process { query.append("process=\(ModelProbe.percentEncoded(process))") }
        let decoder = JSONDecoder()
        let request = HTTPRequest(target: .unix(path: self.socket), path: "/v1/logs?\(query.joined(separator: "&"))")
        try await self.stream(request) { line in
            if line.isEmpty {
                try await caughtUp()
            } else if let record = try? decoder.decode(LogRecord.self, from: Data(line)), let line = record.line {
                try await receive(line)
            }
        }
    }

    /// Reads an answer line by line.
    func stream(_ request: HTTPRequest, receive: ([UInt8]) async throws -> Void) async throws {
        var splitter = LineSplitter(limit: 1 << 20)
        let answer: HTTPAnswer
        do {
            answer = try await HTTPClient.stream(request) { buffer in
                for line in splitter.append(buffer.readableBytesView) { try await receive(line.bytes) }
            }
        } catch let failure as HTTPFailure {
            throw self.failure(failure)
        }
        guard answer.isSuccess else { throw Self.refusal(answer) }
    }

    func ask<Value: Decodable>(
        _ method: String,
        _ path: String,
        _ query: [String],
        body: String? = nil,
        within limit: Duration? = nil
    ) async throws -> Value {
        let path = query.isEmpty ? path : "\(path)?\(query.joined(separator: "&"))"
        let request = HTTPRequest(
            target: .unix(path: self.socket),
            method: method,
            path: path,
            body: body.map { Array($0.utf8) }
        )
        let answer: HTTPAnswer
        do {
            answer = try await HTTPClient.send(request, timeout: limit)
        } catch {
            throw self.failure(error)
        }
        guard answer.isSuccess else { throw Self.refusal(answer) }
        do {
            return try JSONDecoder().decode(Value.self, from: Data(answer.body.readableBytesView))
        } catch {
            throw Failure(description: "\(self.socket) answered something unexpected: \(error)", isNotRunning: false)
        }
    }

    /// The file of the deployment's lock, beside the socket.
    private var lock: String { self.socket.dropLast("control.sock".count) + "lock" }

    private func failure(_ failure: HTTPFailure) -> Failure {
        if failure.isRefused { return Failure(description: "no launcher serves \(self.socket)", isNotRunning: true) }
        if let launcher = DeploymentLock.holder(path: self.lock), ProcessTable.entry(of: launcher)?.isSuspended == true
        {
            return Failure(
                description: "its launcher (pid \(launcher)) is suspended; let it go on with: kill -CONT \(launcher)",
                isNotRunning: false
            )
        }
        return Failure(description: "\(self.socket): \(failure)", isNotRunning: false)
    }

    private static func refusal(_ answer: HTTPAnswer) -> Failure {
        struct Body: Decodable {
            struct Detail: Decodable { var message: String }
            var error: Detail
        }
        let body = try? JSONDecoder().decode(Body.self, from: Data(answer.body.readableBytesView))
        return Failure(description: body?.error.message ?? answer.words, isNotRunning: false)
    }
}

/// One line of `GET /v1/logs`.
private struct LogRecord: Decodable {
    var time: String
    var process: String
    var replica: String
    var stream: LogLine.Stream
    var message: String
    var partial: Bool?

    var line: LogLine? {
        guard let time = LogTime(ascii: Array(self.time.utf8)[...]) else { return nil }
        return LogLine(
            process: self.process,
            replica: self.replica,
            stream: self.stream,
            time: time,
            text: self.message,
            isPartial: self.partial ?? false
        )
    }
}
