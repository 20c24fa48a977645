import Logging
import NIOCore
import Synchronization

/// Who waits for a backend.
struct Waiter: Sendable {
    private let connection: NIOLoopBound<ClientConnection>
    private let number: UInt64

    init(_ connection: ClientConnection, _ number: UInt64) {
        self.connection = NIOLoopBound(connection, eventLoop: connection.lane.eventLoop)
        self.number = number
    }

    func grant(_ assignment: Traffic<Waiter>.Assignment) {
        self.connection.eventLoop.execute { self.connection.value.granted(assignment, self.number) }
    }

    func deny(_ refusal: Refusal) {
        self.connection.eventLoop.execute { self.connection.value.denied(refusal, self.number) }
    }
}

/// What all event loops of a gateway share: the traffic, behind one lock that is taken twice for a request.
final class GatewayCore: Sendable {
    private struct State {
        var traffic: Traffic<Waiter>
        var refusals: [String: Int] = [:]
        var lanes: [NIOLoopBound<Lane>] = []
        /// When the traffic is looked at again.
        var wake = NIODeadline.distantFuture
        var isDraining = false
        /// Since when no request has been here; nil: one is.
        var idleSince: NIODeadline? = .now()

        /// To be called after each change of the traffic.
        mutating func noteIdleness() {
            let isIdle = self.traffic.inFlight == 0 && self.traffic.heldRequests == 0
            guard isIdle != (self.idleSince != nil) else { return }
            self.idleSince = isIdle ? .now() : nil
        }
    }

    let configuration: GatewayConfiguration
    let logger: Logger
    let connections = ConnectionSet()
    private let state: Mutex<State>

    init(_ configuration: GatewayConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        let traffic = Traffic<Waiter>(
            hold: configuration.hold,
            upstream: configuration.upstream,
            maximumRequests: configuration.limits.maximumRequests
        )
        self.state = Mutex(State(traffic: traffic))
    }

    // MARK: Requests

    func arrive(
        _ waiter: Waiter,
        bytes: Int,
        deadline: NIODeadline?,
        generation: Int?,
        now: NIODeadline
    ) -> Traffic<Waiter>.Decision {
        self.state.withLock { state in
            let decision = state.traffic.arrive(
                waiter,
                bytes: bytes,
                deadline: deadline,
                generation: generation,
                now: now
            )
            state.noteIdleness()
            if case .hold = decision { self.scheduleTick(&state) }
            return decision
        }
    }

    func leave(_ id: UInt64) {
        self.state.withLock { state in
            state.traffic.leave(id)
            state.noteIdleness()
        }
    }

    func finish(_ assignment: Traffic<Waiter>.Assignment, _ result: ExchangeResult) {
        self.change { $0.finish(assignment, result, now: .now()) }
    }

    /// Counts an answer of the gateway itself.
    func note(_ refusal: Refusal) { self.state.withLock { $0.refusals[refusal.code, default: 0] += 1 } }

    func logFailure(_ backend: Backend, _ reason: String, _ requestID: String?) {
        self.logger.warning(
            "a backend failed a request",
            metadata: ["backend": "\(backend)", "reason": "\(reason)", "request": "\(requestID ?? "unknown")"]
        )
    }

    // MARK: Backends

    func setBackends(_ backends: [Backend], shares: [Int: Int]?) {
        self.change { $0.setBackends(backends, shares: shares, now: .now()) }
    }

    func outstanding(at backend: Backend) -> Int { self.state.withLock { $0.traffic.outstanding(at: backend) } }

    func outstanding(generation: Int) -> Int {
        self.state.withLock { $0.traffic.outstanding(generation: generation) }
    }

    var figures: [Int: TrafficFigures] { self.state.withLock { $0.traffic.figures } }

    func figures(of generation: Int) -> TrafficFigures { self.state.withLock { $0.traffic.figures(of: generation) } }

    // MARK: Lanes

    func setLanes(_ lanes: [NIOLoopBound<Lane>]) { self.state.withLock { $0.lanes = lanes } }

    /// Returns when every event loop has done what it had to do.
    func settle() async {
        for lane in self.state.withLock({ $0.lanes }) { try? await lane.eventLoop.submit {}.get() }
    }

    /// Closes what is idle; nothing is done on the event loops from then on, so that they may be shut down.
    func closeLanes() {
        self.state.withLock { state in
            for lane in state.lanes { lane.eventLoop.execute { lane.value.closeIdle() } }
            state.lanes = []
        }
    }

    // MARK: State

    var isDraining: Bool { self.state.withLock { $0.isDraining } }

    /// New connections are not wanted, and requests that wait for a backend wait in vain.
    func beginDraining() {
        self.state.withLock { $0.isDraining = true }
        self.change { $0.stopHolding() }
    }

    /// For how long no request has been here; zero while one is.
    var idleTime: Duration {
        guard let since = self.state.withLock({ $0.idleSince }) else { return .zero }
        return .nanoseconds((NIODeadline.now() - since).nanoseconds)
    }

    var status: GatewayStatus {
        let connections = self.connections.count
        return self.state.withLock { state in
            var status = GatewayStatus()
            (status.heldRequests, status.heldBytes) = (state.traffic.heldRequests, state.traffic.heldBytes)
            (status.inFlight, status.connections) = (state.traffic.inFlight, connections)
            (status.isDraining, status.refusals) = (state.isDraining, state.refusals)
            status.backends = state.traffic.statistics
            return status
        }
    }

    // MARK: Actions

    private func change(_ body: @Sendable (inout Traffic<Waiter>) -> [Traffic<Waiter>.Action]) {
        let actions = self.state.withLock { state in
            let actions = body(&state.traffic)
            state.noteIdleness()
            // Under the lock: an event loop that is not among them any more may have been shut down.
            for action in actions { self.perform(action, on: state.lanes) }
            self.scheduleTick(&state)
            return actions
        }
        for action in actions {
            switch action {
            case .send(let waiter, let assignment): waiter.grant(assignment)
            case .refuse(let waiter, let refusal): waiter.deny(refusal)
            case .retire, .probe: break
            }
        }
    }

    private func perform(_ action: Traffic<Waiter>.Action, on lanes: [NIOLoopBound<Lane>]) {
        switch action {
        case .send, .refuse:
            break
        case .retire(let slot):
            for lane in lanes { lane.eventLoop.execute { lane.value.retire(slot) } }
        case .probe(let slot, let backend):
            guard let lane = lanes.first else { return }
            lane.eventLoop.execute {
                lane.value.probe(backend) { isWell in
                    self.change { $0.probed(slot: slot, isWell: isWell, now: .now()) }
                }
            }
        }
    }

    /// Looks again when the time has come, if that is earlier than what is planned.
    private func scheduleTick(_ state: inout State) {
        guard let time = state.traffic.wakeTime(), time < state.wake, let lane = state.lanes.first else { return }
        state.wake = time
        lane.eventLoop.scheduleTask(deadline: time) {
            self.state.withLock { $0.wake = .distantFuture }
            self.change { $0.tick(now: .now()) }
        }
    }
}
