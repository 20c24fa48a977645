import Deployment
import Supervisor

/// The terminal view as lines, for any size of a terminal.
struct TopScreen: Sendable {
    var style: MigrationView.Style
    /// Whether nobody presses keys: everything is shown, once.
    var isPlain = false

    private static let keys = "q quit  \u{2191}\u{2193} choose  r restart  s stop/start  l logs  ? help"
    private static let plainEvents = 10
    /// Lines below which something is left out.
    private static let rowsForDetails = 9
    private static let rowsForBackends = 15

    /// As many lines as there is room for, each in its width.
    func text(_ model: TopModel) -> [String] {
        self.lines(model).prefix(max(1, self.style.height)).map {
            $0.rendered(
                width: self.style.width,
                colour: self.style.colour,
                ellipsis: self.style.unicode ? "\u{2026}" : ">"
            )
        }
    }

    func lines(_ model: TopModel) -> [StyledLine] {
        let head = self.headline(model)
        if self.isPlain { return self.plain(model, head) }
        // The last line says what may be pressed.
        let rest = self.style.height - 2
        guard rest > 0 else { return self.style.height > 1 ? [head, self.footer(model)] : [head] }
        var body: [StyledLine]
        switch model.mode {
        case .help: body = Self.help.map { StyledLine($0) }
        case .logs(let replica, let lines):
            body = [StyledLine("last lines of \(replica)", .bold)]
            body += lines.suffix(max(0, rest - 1)).map { StyledLine($0) }
        case .processes: body = self.body(model, rest)
        }
        body = Array(body.prefix(rest))
        body += Array(repeating: StyledLine(), count: rest - body.count)
        return [head] + body + [self.footer(model)]
    }

    private func plain(_ model: TopModel, _ head: StyledLine) -> [StyledLine] {
        var lines = [head] + self.alerts(model) + self.details(model) + [StyledLine()]
        lines += self.processes(model, rows: .max)
        let backends = self.backends(model)
        if !backends.isEmpty { lines += [StyledLine()] + backends }
        let events = self.events(model, count: Self.plainEvents)
        if !events.isEmpty { lines += [StyledLine()] + events }
        return lines
    }

    /// What is of the least interest is left out first.
    private func body(_ model: TopModel, _ height: Int) -> [StyledLine] {
        var lines = Array(self.alerts(model).prefix(max(1, height / 3)))
        if height >= Self.rowsForDetails { lines += self.details(model) }
        var backends = height >= Self.rowsForBackends ? self.backends(model) : []
        if !backends.isEmpty { backends = [StyledLine()] + backends.prefix(1 + height / 4) }
        let hasRoom = height >= Self.rowsForDetails
        let room = height - lines.count - backends.count - (hasRoom ? 1 : 0)
        if hasRoom { lines.append(StyledLine()) }
        lines += self.processes(model, rows: max(1, room - 1))
        lines += backends
        let left = height - lines.count - 1
        if left > 0 {
            let events = self.events(model, count: left)
            if !events.isEmpty { lines += [StyledLine()] + events }
        }
        return lines
    }

    // MARK: Parts

    private func headline(_ model: TopModel) -> StyledLine {
        guard let status = model.status else {
            return StyledLine("\(model.deployment): \(model.trouble ?? "asking its launcher")", .bold)
        }
        var line = StyledLine("\(status.deployment): ", .bold)
        if model.trouble != nil {
            line.add("its launcher does not answer", .red)
            return line
        }
        let colour: StyledLine.Colour? =
            switch status.state {
            case .ready: .green
            case .failed: .red
            case .degraded: .yellow
            case .starting, .stopping, .stopped: nil
            }
        line.add(status.state.rawValue, colour)
        line.add(", \(status.replicas.count { $0.state == .ready }) of \(status.replicas.count) ready")
        line.add(", up \(Seconds.text(status.uptime)), launcher pid \(status.launcherPID)")
        return line
    }

    /// What a person should see before all else.
    private func alerts(_ model: TopModel) -> [StyledLine] {
        var lines: [StyledLine] = []
        if let trouble = model.trouble, model.status != nil {
            lines += self.wrapped("\(trouble); this is what it said last, and it is asked again", .red)
        }
        if let failure = model.status?.failure { lines += self.wrapped("failure: \(failure)", .red) }
        for service in model.status?.silentServices ?? [] { lines += self.wrapped(service.words, .red) }
        for warning in model.status?.warnings ?? [] { lines += self.wrapped("warning: \(warning)", .yellow) }
        if let migration = model.status?.migration, !migration.step.isEnd || migration.step == .failed {
            let words = MigrationWords.summary(migration, MigrationHints(deployment: model.deployment))
            lines += self.wrapped(words, .bold)
        }
        return lines
    }

    private func wrapped(_ text: String, _ colour: StyledLine.Colour) -> [StyledLine] {
        StyledLine.wrapped(text, width: self.style.width).map { StyledLine($0, colour) }
    }

    private func details(_ model: TopModel) -> [StyledLine] {
        guard let status = model.status else { return [] }
        var lines = [
            StyledLine(
                "planes: request \(status.planes.request.rawValue), events \(status.planes.events.rawValue), "
                    + "response \(status.planes.response.rawValue); \(status.url)"
                    + (status.model.map { "; model \($0)" } ?? "")
            )
        ]
        if let gateway = status.gateway {
            let rate = model.rates.isEmpty ? nil : model.rates.values.reduce(0, +)
            lines.append(
                StyledLine(
                    "gateway: \(gateway.inFlight) in flight, \(gateway.held) held, \(gateway.refused) refused, "
                        + "\(gateway.connections) connections" + (rate.map { ", \(Self.tenths($0)) requests/s" } ?? "")
                )
            )
        }
        return lines
    }

    /// The title and so many rows, the chosen one among them.
    private func processes(_ model: TopModel, rows: Int) -> [StyledLine] {
        let hasGPUs = model.gpuMemory != nil
        var columns = [
            TopTable.Column(title: "PROCESS"), TopTable.Column(title: "STATE"),
            TopTable.Column(title: "LAYER", rank: 5), TopTable.Column(title: "PID", rank: 2, isNumber: true),
            TopTable.Column(title: "AGE", rank: 4, isNumber: true),
            TopTable.Column(title: "RESTARTS", rank: 3, isNumber: true),
            TopTable.Column(title: "CPU%", rank: 7, isNumber: true),
            TopTable.Column(title: "MEMORY", rank: 6, isNumber: true),
        ]
        if hasGPUs { columns.append(TopTable.Column(title: "GPU MEM", rank: 6, isNumber: true)) }
        columns.append(TopTable.Column(title: "NOTE", rank: 1))
        let all = model.replicas.map { (replica: ReplicaStatus) -> TopTable.Row in
            let layer: String = replica.layer?.rawValue ?? "-"
            let pid: String = replica.pid.map { "\($0)" } ?? "-"
            let age: String = replica.uptime.map { Seconds.text($0) } ?? "-"
            let share: String = model.processorShares[replica.name].map { Self.tenths($0 * 100) } ?? "-"
            let memory: String = replica.memoryBytes.map { Self.memory($0) } ?? "-"
            var cells: [String] = [replica.name, replica.state.rawValue, layer, pid, age]
            cells += ["\(replica.restarts)", share, memory]
            if hasGPUs { cells.append(model.gpuMemory?[replica.name].map { Self.memory($0) } ?? "-") }
            let note = replica.state == .ready ? replica.says : replica.waitingFor ?? replica.lastExit
            cells.append((note ?? "").printable)
            let isChosen = replica.name == model.chosen && !self.isPlain
            return TopTable.Row(cells: cells, mark: isChosen ? ">" : " ", colour: Self.colour(replica, isChosen))
        }
        let table = TopTable(columns: columns, rows: all, isLastOpen: true).lines(width: self.style.width)
        guard all.count > rows else { return table }
        // The window moves no further than it must, from the first row on.
        let chosen = model.replicas.firstIndex { $0.name == model.chosen } ?? 0
        let first = min(max(0, chosen - rows + 1), all.count - rows)
        return [table[0]] + table.dropFirst(1 + first).prefix(rows)
    }

    private static func colour(_ replica: ReplicaStatus, _ isChosen: Bool) -> StyledLine.Colour? {
        switch replica.state {
        case .failed: .red
        case .unready, .backingOff: .yellow
        case .waiting, .starting, .restarting, .stopping, .stopped: isChosen ? .bold : .dim
        case .ready: isChosen ? .bold : nil
        }
    }

    private func backends(_ model: TopModel) -> [StyledLine] {
        // Those of generations that are gone are of no interest here.
        let backends = (model.status?.gateway?.backends ?? []).filter {
            $0.isReady || $0.inFlight > 0 || $0.generation == model.status?.generation
        }
        guard !backends.isEmpty else { return [] }
        let columns = [
            TopTable.Column(title: "BACKEND"), TopTable.Column(title: "GETS", rank: 4),
            TopTable.Column(title: "IN FLIGHT", isNumber: true), TopTable.Column(title: "REQUESTS", isNumber: true),
            TopTable.Column(title: "A SECOND", rank: 2, isNumber: true),
            TopTable.Column(title: "ERRORS", rank: 5, isNumber: true),
            TopTable.Column(title: "RETRIES", rank: 1, isNumber: true),
        ]
        let rows = backends.map { (backend: GatewayReport.Backend) -> TopTable.Row in
            let label = TopModel.label(backend)
            let gets = backend.isActive ? "requests" : backend.isReady ? "nothing" : "gone"
            let rate: String = model.rates[label].map { Self.tenths($0) } ?? "-"
            var cells: [String] = [label, gets, "\(backend.inFlight)", "\(backend.requests)", rate]
            cells += ["\(backend.errors)", "\(backend.retries)"]
            return TopTable.Row(cells: cells, colour: backend.isReady ? nil : .dim)
        }
        return TopTable(columns: columns, rows: rows).lines(width: self.style.width)
    }

    private func events(_ model: TopModel, count: Int) -> [StyledLine] {
        model.events.suffix(count).map { event in
            let colour: StyledLine.Colour? =
                switch event.level {
                case .error: .red
                case .warning: .yellow
                case .notice, .info: nil
                }
            var line = StyledLine("\(event.time.dropFirst(11).prefix(8))  ", .dim)
            line.add(event.message, colour)
            return line
        }
    }

    private func footer(_ model: TopModel) -> StyledLine {
        if let question = model.question {
            var words = "\(question.order.rawValue) \(question.replica)?  y/n"
            if !question.dependents.isEmpty {
                words += "  (\(question.dependents.joined(separator: ", ")) depend on it and go on)"
            }
            return StyledLine(words, .bold)
        }
        if let message = model.message { return StyledLine(message, model.isBad ? .red : .bold) }
        switch model.mode {
        case .processes: return StyledLine(self.style.unicode ? Self.keys : Self.asciiKeys, .dim)
        case .help, .logs: return StyledLine("q back", .dim)
        }
    }

    private static let asciiKeys = "q quit  j/k choose  r restart  s stop/start  l logs  ? help"

    private static let help = [
        "q         leave; the deployment goes on",
        "j k, arrows, page up, page down, g G",
        "          choose a process",
        "r         restart it: asks first",
        "s         stop it, or start it again: asks first",
        "l, enter  its last lines",
        "CPU%      of one processor, with what the process has started",
        "MEMORY    resident; what processes share counts for each",
        "?         this",
    ]

    // MARK: Numbers

    /// `12.3`.
    static func tenths(_ number: Double) -> String {
        guard number.isFinite, abs(number) < 1e12 else { return "-" }
        let tenths = Int((number * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    /// `28.1 MiB`, `1.2 GiB`.
    static func memory(_ bytes: Int) -> String {
        let mebibytes = Double(bytes) / 1_048_576
        return mebibytes < 1023.95 ? "\(self.tenths(mebibytes)) MiB" : "\(self.tenths(mebibytes / 1024)) GiB"
    }
}
