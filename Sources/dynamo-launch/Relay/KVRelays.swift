import Deployment
import KVEvents
import Logging
import Supervisor
import Synchronization

/// Publishes the KV events of every replica whose engine has no publisher for Dynamo's event plane.
///
/// A replica has a relay from its start to its end. Who runs the deployment tells what happens by `observe`, and runs `run()` beside it.
final class KVRelays: Sendable {
    private enum Event: Sendable {
        case started(String)
        case ended(String)
    }

    private let plan: Mutex<Plan>
    /// Whether there is anything to relay; without it no connection is made and no thread started.
    private let isNeeded: Bool
    private let makeLogger: @Sendable (_ replica: String?) -> Logger
    private let say: @Sendable (String) -> Void
    private let events: AsyncStream<Event>
    private let sender: AsyncStream<Event>.Continuation
    /// The relay of each replica's present run.
    private let relays: Mutex<[String: ReplicaRelay]> = Mutex([:])

    /// - Parameters:
    ///   - plan: as it is run.
    ///   - makeLogger: for what somebody should know of a replica's relay, or of all of them.
    ///   - say: gets the lines about what goes as it should.
    init(
        plan: Plan,
        makeLogger: @escaping @Sendable (_ replica: String?) -> Logger,
        say: @escaping @Sendable (String) -> Void
    ) {
        self.plan = Mutex(plan)
        self.isNeeded = plan.replicas.contains { $0.kvEvents != nil }
        self.makeLogger = makeLogger
        self.say = say
        (self.events, self.sender) = AsyncStream.makeStream(of: Event.self)
    }

    // MARK: What happens

    /// Takes note; does not block.
    func observe(_ notice: SupervisorNotice) {
        guard self.isNeeded else { return }
        switch notice {
        case .started(let replica, _), .adopted(let replica, _, _): self.sender.yield(.started(replica))
        case .replicaState(let replica, let state, _):
            switch state {
            case .waiting, .backingOff, .restarting, .stopping, .stopped, .failed: self.sender.yield(.ended(replica))
            case .starting, .ready, .unready: break
            }
        case .ended(let replica): self.sender.yield(.ended(replica))
        // Before the servers that it needs are stopped.
        case .stopping: self.sender.finish()
        case .planChanged(let plan, _): self.plan.withLock { $0 = plan }
        case .layerReached, .stuck, .holding, .said, .exited, .restarting, .portsRenewed, .firstExit, .ready,
            .replicaPlanned,
            .planUnchanged,
            .changeEnded,
            .recovered,
            .degraded,
            .warning,
            .serviceLost,
            .serviceBack,
            .signalled,
            .failed:
            break
        }
    }

    /// What is known of each replica that has a relay.
    var statuses: [String: KVRelayStatus] {
        let relays = self.relays.withLock { $0 }
        let replicas = self.plan.withLock { $0.replicas }
        let pairs = replicas.filter { $0.kvEvents != nil }.map { replica in
            (replica.name, relays[replica.name]?.status ?? KVRelayStatus(.idle))
        }
        return Dictionary(pairs) { first, _ in first }
    }

    // MARK: Running

    /// Relays until the deployment is being stopped, or until cancelled.
    func run() async {
        guard self.isNeeded else { return }
        let logger = self.makeLogger(nil)
        let connection = RelayConnection(plan: self.plan.withLock { $0 }, logger: logger)
        let thread: ZMQThread
        do { thread = try ZMQThread() } catch {
            logger.error("no KV events are relayed: \(error)")
            return
        }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await connection.connect() }
            await self.relay(thread, connection)
            group.cancelAll()
        }
        await thread.shutdown()
        await connection.close()
    }

    private func relay(_ thread: ZMQThread, _ connection: RelayConnection) async {
        await withDiscardingTaskGroup { group in
            var ends: [String: AsyncStream<Void>.Continuation] = [:]
            for await event in self.events {
                switch event {
                case .ended(let replica):
                    ends.removeValue(forKey: replica)?.finish()
                    self.relays.withLock { $0[replica] = nil }
                case .started(let name):
                    ends.removeValue(forKey: name)?.finish()
                    let plan = self.plan.withLock { $0 }
                    guard let replica = plan.replicas.first(where: { $0.name == name }),
                        let relay = self.relay(of: replica, thread, connection)
                    else { continue }
                    let (end, finish) = AsyncStream.makeStream(of: Void.self)
                    ends[name] = finish
                    self.relays.withLock { $0[name] = relay }
                    group.addTask { await Self.run(relay, until: end) }
                }
            }
            // The deployment is being stopped, or this task was cancelled.
            for end in ends.values { end.finish() }
            self.relays.withLock { $0 = [:] }
        }
    }

    private func relay(of replica: ReplicaPlan, _ thread: ZMQThread, _ connection: RelayConnection) -> ReplicaRelay? {
        guard let events = replica.kvEvents else { return nil }
        return ReplicaRelay(
            replica: replica,
            events: events,
            plan: self.plan.withLock { $0 },
            thread: thread,
            connection: connection,
            logger: self.makeLogger(replica.name),
            say: self.say
        )
    }

    private static func run(_ relay: ReplicaRelay, until end: AsyncStream<Void>) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in end {} }
            group.addTask {
                await relay.run()
                // Given up: what it was given up for is shown until the end.
                for await _ in AsyncStream<Void>.makeStream().stream {}
            }
            await group.next()
            group.cancelAll()
        }
    }
}
