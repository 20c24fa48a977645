import Deployment
import Supervisor

/// A migration as a block of lines: its steps, the share that is moved, both generations side by side, and what comes next.
struct MigrationView: Sendable {
    /// What the place where it is shown can do.
    struct Style: Sendable, Hashable {
        /// Columns; no line is wider.
        var width = 100
        /// Lines; there are no more.
        var height = Int.max
        var colour = false
        /// Whether more than ASCII can be shown.
        var unicode = true
    }

    let hints: MigrationHints
    var style = Style()
    /// What the command itself has to say.
    var messages: [String] = []

    private static let shortBar = 10
    private static let longBar = 40
    /// Columns before what is done in a step.
    private static let stepColumns = 30
    /// Columns beside the bar.
    private static let barWords = 52

    func lines(_ status: MigrationStatus, _ timeline: MigrationTimeline) -> [String] {
        let head = self.headline(status) + [StyledLine()]
        var steps = timeline.rows.map { self.line(of: $0, status) }
        var rest = [StyledLine(), self.bar(status), StyledLine()] + self.table(status)
        var words: [StyledLine] = []
        if !status.step.isEnd, StyledLine.width(of: self.detail(status)) + Self.stepColumns > self.style.width {
            words += self.wrapped("now: ", self.detail(status), nil)
        }
        if let reason = status.reason { words += self.wrapped("reason: ", reason, .red) }
        if let next = MigrationWords.next(status, self.hints) {
            words += self.wrapped("", next, status.isPaused ? .yellow : .bold)
        }
        for note in status.notes { words += self.wrapped("note: ", note, nil) }
        for message in self.messages { words += self.wrapped("", message, .yellow) }
        if !words.isEmpty { rest += [StyledLine()] + words }
        var lines = head + steps + rest
        if lines.count > self.style.height { lines.removeAll(where: \.isEmpty) }
        // What is passed is of the least interest.
        let passed = timeline.rows.prefix { $0.state == .passed }.count
        let excess = min(passed, lines.count - self.style.height)
        if excess > 0 {
            steps.removeFirst(excess)
            lines = (head + steps + rest).filter { !$0.isEmpty }
        }
        return lines.prefix(max(1, self.style.height)).map {
            $0.rendered(
                width: self.style.width,
                colour: self.style.colour,
                ellipsis: self.style.unicode ? "\u{2026}" : ">"
            )
        }
    }

    /// One line, or two when the end does not fit beside what it was.
    private func headline(_ status: MigrationStatus) -> [StyledLine] {
        let way = "\(MigrationWords.name(status.from)) to \(MigrationWords.name(status.to))"
        let rest = ", \(status.strategy.rawValue)"
        func line(_ number: String, _ end: String, _ colour: StyledLine.Colour? = nil) -> StyledLine {
            var line = StyledLine("\(self.hints.deployment): \(number)\(way)", .bold)
            line.add(rest)
            line.add(end, colour)
            return line
        }
        let number = "migration \(status.id), "
        func fits(_ line: StyledLine) -> Bool { line.width <= self.style.width }
        guard let end = MigrationWords.end(status) else {
            let whole = line(number, ", \(Seconds.text(status.elapsed))")
            // The time is of more interest than the number.
            return [fits(whole) ? whole : line("", ", \(Seconds.text(status.elapsed))")]
        }
        let colour: StyledLine.Colour = status.step == .done && !status.isStopped ? .green : .red
        let whole = line(number, ": \(end)", colour)
        return fits(whole) ? [whole] : [line(number, "")] + self.wrapped("", end, colour)
    }

    private func line(of row: MigrationTimeline.Row, _ status: MigrationStatus) -> StyledLine {
        var line = StyledLine("  ")
        let name = row.step.rawValue
        let time = row.seconds.map(Seconds.text) ?? ""
        switch row.state {
        case .passed: line.add(self.style.unicode ? "\u{2713}" : "x", .green)
        case .broken: line.add(self.style.unicode ? "\u{2717}" : "!", .red)
        case .current: line.add(self.style.unicode ? "\u{25B8}" : ">", .yellow)
        case .upcoming: line.add(self.style.unicode ? "\u{00B7}" : "-", .dim)
        }
        let isDetailed = row.state == .current
        let padded = name + String(repeating: " ", count: max(0, 12 - name.count))
        line.add(" " + (isDetailed || !time.isEmpty ? padded : name), Self.colour(of: row.state))
        guard isDetailed || !time.isEmpty else { return line }
        line.add("  " + time)
        guard isDetailed else { return line }
        let detail = self.detail(status)
        // What does not fit has lines of its own.
        guard Self.stepColumns + StyledLine.width(of: detail) <= self.style.width else { return line }
        line.add(String(repeating: " ", count: max(0, 10 - time.count)) + "  " + detail)
        return line
    }

    private func detail(_ status: MigrationStatus) -> String {
        let detail = status.detail ?? MigrationWords.meaning(status)
        let isCounted = status.stage != nil && status.stages > 1
        let isNamed = isCounted || status.step == .observing
        return (isNamed ? "\(MigrationWords.step(status)): \(detail)" : detail).printable
    }

    private static func colour(of state: MigrationTimeline.Row.State) -> StyledLine.Colour? {
        switch state {
        case .passed: nil
        case .broken: .red
        case .current: .bold
        case .upcoming: .dim
        }
    }

    private func bar(_ status: MigrationStatus) -> StyledLine {
        let share = min(100, max(0, status.share))
        let width = min(Self.longBar, max(Self.shortBar, self.style.width - Self.barWords))
        let full = share * width / 100
        var line = StyledLine("  ")
        line.add(String(repeating: self.style.unicode ? "\u{2588}" : "#", count: full), .green)
        line.add(String(repeating: self.style.unicode ? "\u{2591}" : ".", count: width - full), .dim)
        line.add(
            self.style.width < Self.shortBar + Self.barWords
                ? "  \(share) % at generation \(status.to.number)"
                : "  \(share) % of the requests go to \(MigrationWords.name(status.to))"
        )
        return line
    }

    // MARK: The table

    private struct Column {
        var title: String
        /// In a narrow window.
        var short: String
        /// Which is left out first, from 1; nil: never.
        var rank: Int?
        var isNumber = true
        var cell: (MigrationStatus.Generation) -> String
    }

    private static func columns(_ status: MigrationStatus) -> [Column] {
        var columns = [
            Column(title: "GENERATION", short: "GEN", isNumber: false) { "\($0.number)" },
            Column(title: "PLANE", short: "PLANE", rank: 5, isNumber: false) { $0.requestPlane },
            Column(title: "RELEASE", short: "RELEASE", rank: 1, isNumber: false) { $0.release ?? "-" },
            Column(title: "READY", short: "READY", rank: 4) {
                $0.replicas == 0 ? "-" : "\($0.ready) of \($0.replicas)"
            },
            Column(title: "REQUESTS", short: "REQUESTS") { "\($0.requests)" },
            Column(title: "ERRORS", short: "ERRORS") { "\($0.errors)" },
            Column(title: "IN FLIGHT", short: "FLIGHT", rank: 2) { "\($0.inFlight)" },
            Column(title: "FIRST TOKEN", short: "FIRST", rank: 6) { MigrationWords.latency($0.firstToken) },
            Column(title: "BETWEEN TOKENS", short: "BETWEEN", rank: 3) { MigrationWords.latency($0.betweenTokens) },
        ]
        if status.from.release == nil, status.to.release == nil { columns.removeAll { $0.title == "RELEASE" } }
        return columns
    }

    /// With the whole titles if they fit, else with short ones and as many columns as fit.
    private func table(_ status: MigrationStatus) -> [StyledLine] {
        var columns = Self.columns(status)
        func rows(isShort: Bool) -> [String] {
            let cells = columns.map { column in
                [isShort ? column.short : column.title, column.cell(status.from), column.cell(status.to)]
            }
            let widths = cells.map { $0.map(StyledLine.width(of:)).max() ?? 0 }
            return (0..<3).map { row in
                let line = columns.indices.map { index in
                    let cell = cells[index][row]
                    let space = String(repeating: " ", count: widths[index] - StyledLine.width(of: cell))
                    return columns[index].isNumber ? space + cell : cell + space
                }.joined(separator: "  ")
                return "  " + line
            }
        }
        func isTooWide(_ lines: [String]) -> Bool { lines.contains { StyledLine.width(of: $0) > self.style.width } }
        var lines = rows(isShort: false)
        if isTooWide(lines) { lines = rows(isShort: true) }
        while isTooWide(lines), let rank = columns.compactMap(\.rank).min() {
            columns.removeAll { $0.rank == rank }
            lines = rows(isShort: true)
        }
        let shown = lines.map { String($0.reversed().drop { $0 == " " }.reversed()) }
        return [StyledLine(shown[0], .dim), StyledLine(shown[1])]
            + [StyledLine(shown[2], status.to.errors > 0 ? .yellow : nil)]
    }

    private func wrapped(_ head: String, _ text: String, _ colour: StyledLine.Colour?) -> [StyledLine] {
        StyledLine.wrapped(head + text, width: max(10, self.style.width - 4)).enumerated().map { index, line in
            StyledLine((index == 0 ? "  " : "    ") + line, colour)
        }
    }
}
