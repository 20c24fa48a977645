import Deployment
import Supervisor

/// What the terminal view knows and what a person has chosen: keys and statuses go in, what is to be done comes out.
struct TopModel: Sendable {
    enum Mode: Sendable, Equatable {
        case processes, help
        /// The last lines of a replica.
        case logs(of: String, [String])
    }

    /// Something that is done only when a person says so.
    struct Question: Sendable, Equatable {
        var order: ProcessOrder
        var replica: String
        /// Those that depend on it.
        var dependents: [String]
    }

    enum Action: Sendable, Equatable {
        case quit, suspend
        /// Ask the launcher what an order would do.
        case outline(ProcessOrder, String)
        case obey(ProcessOrder, String)
        /// Read the last lines that a replica has written.
        case readLog(String)
    }

    /// How fast things go, by two statuses.
    private struct Moment: Sendable {
        var status: DeploymentStatus
        var at: ContinuousClock.Instant
    }

    let deployment: String
    private(set) var mode = Mode.processes
    private(set) var status: DeploymentStatus?
    /// Why there is no newer status.
    private(set) var trouble: String?
    private(set) var question: Question?
    /// What came of the last order.
    private(set) var message: String?
    private(set) var isBad = false
    /// Of a processor, by replica.
    private(set) var processorShares: [String: Double] = [:]
    /// Requests in a second, by frontend.
    private(set) var rates: [String: Double] = [:]
    /// By replica, where GPUs can be asked.
    private(set) var gpuMemory: [String: Int]?
    private(set) var events: [LaunchEvent] = []
    private(set) var chosen: String?
    private var before: Moment?
    /// Replicas on a page.
    private static let page = 10
    private static let eventLimit = 200

    init(deployment: String) { self.deployment = deployment }

    var replicas: [ReplicaStatus] { self.status?.replicas ?? [] }

    // MARK: What is learned

    /// A new status.
    mutating func take(_ status: DeploymentStatus, at now: ContinuousClock.Instant) -> [Action] {
        self.measure(status, at: now)
        self.before = Moment(status: status, at: now)
        self.status = status
        self.trouble = nil
        if !status.replicas.contains(where: { $0.name == self.chosen }) { self.chosen = status.replicas.first?.name }
        if case .logs(let replica, _) = self.mode { return [.readLog(replica)] }
        return []
    }

    /// The launcher does not answer.
    mutating func fail(_ trouble: String) {
        self.trouble = trouble
        // What is there next may be another launcher.
        self.before = nil
        self.processorShares = [:]
        self.rates = [:]
    }

    private mutating func measure(_ status: DeploymentStatus, at now: ContinuousClock.Instant) {
        self.processorShares = [:]
        self.rates = [:]
        guard let before, before.status.launcherPID == status.launcherPID, now > before.at else { return }
        let seconds = (now - before.at) / .seconds(1)
        let old = Dictionary(before.status.replicas.map { ($0.name, $0) }) { first, _ in first }
        for replica in status.replicas {
            guard let then = old[replica.name], then.pid == replica.pid, let new = replica.cpuSeconds,
                let old = then.cpuSeconds
            else { continue }
            self.processorShares[replica.name] = max(0, new - old) / seconds
        }
        let counts = Dictionary((before.status.gateway?.backends ?? []).map { (Self.label($0), $0.requests) }) {
            first,
            _ in first
        }
        for backend in status.gateway?.backends ?? [] {
            guard let count = counts[Self.label(backend)] else { continue }
            self.rates[Self.label(backend)] = Double(max(0, backend.requests - count)) / seconds
        }
    }

    static func label(_ backend: GatewayReport.Backend) -> String {
        ReplicaLabel.text(backend.name, generation: backend.generation)
    }

    mutating func take(_ events: [LaunchEvent]) {
        self.events = Array((self.events + events).suffix(Self.eventLimit))
    }

    mutating func take(gpuMemory: [String: Int]?) { self.gpuMemory = gpuMemory }

    /// The last lines of a replica, or why there are none.
    mutating func take(log lines: [String], of replica: String) {
        guard case .logs(replica, _) = self.mode else { return }
        self.mode = .logs(of: replica, lines)
    }

    /// What an order would do.
    mutating func take(_ outline: OrderOutline, of order: ProcessOrder, _ replica: String) {
        guard self.mode == .processes else { return }
        self.question = Question(order: order, replica: replica, dependents: outline.dependents)
    }

    /// What has come of an order.
    mutating func say(_ message: String, isBad: Bool = false) {
        self.message = message
        self.isBad = isBad
    }

    // MARK: What is wanted

    mutating func press(_ key: TopKey) -> [Action] {
        switch key {
        case .interrupt: return [.quit]
        case .suspend: return [.suspend]
        case .redraw: return []
        default: break
        }
        if let question {
            self.question = nil
            guard key == .character("y") || key == .character("Y") else {
                self.say("nothing was done")
                return []
            }
            self.say("\(question.order.rawValue) \(question.replica): asked for")
            return [.obey(question.order, question.replica)]
        }
        switch self.mode {
        case .processes: return self.pressInTable(key)
        case .help, .logs:
            switch key {
            case .character("q"), .character("l"), .character("?"), .escape, .enter: self.mode = .processes
            default: break
            }
            return []
        }
    }

    private mutating func pressInTable(_ key: TopKey) -> [Action] {
        self.message = nil
        switch key {
        case .character("q"): return [.quit]
        case .character("?"), .character("h"): self.mode = .help
        case .up, .character("k"): self.move(by: -1)
        case .down, .character("j"): self.move(by: 1)
        case .pageUp: self.move(by: -Self.page)
        case .pageDown: self.move(by: Self.page)
        case .home, .character("g"): self.move(by: -self.replicas.count)
        case .end, .character("G"): self.move(by: self.replicas.count)
        case .character("l"), .enter:
            guard let chosen else { break }
            self.mode = .logs(of: chosen, [])
            return [.readLog(chosen)]
        case .character("r"):
            if let chosen { return [.outline(.restart, chosen)] }
        case .character("s"):
            guard let replica = self.replicas.first(where: { $0.name == self.chosen }) else { break }
            let isAway = replica.state == .stopped || replica.state == .failed
            return [.outline(isAway ? .start : .stop, replica.name)]
        default: break
        }
        return []
    }

    private mutating func move(by count: Int) {
        let names = self.replicas.map(\.name)
        guard !names.isEmpty else { return }
        let index = names.firstIndex { $0 == self.chosen } ?? 0
        self.chosen = names[min(names.count - 1, max(0, index + count))]
    }
}
