import Deployment
import Testing

@testable import Supervisor
@testable import dynamo_launch

/// What the terminal view does with keys and statuses.
@Suite struct TopModelTests {
    static func replica(
        _ name: String,
        _ state: ReplicaStatus.State = .ready,
        pid: Int32? = 7,
        cpu: Double? = nil,
        memory: Int? = nil
    ) -> ReplicaStatus {
        ReplicaStatus(
            name: name,
            process: String(name.prefix { $0 != "-" }),
            role: .worker,
            state: state,
            pid: pid,
            layer: .health,
            reached: [],
            waitingFor: nil,
            says: nil,
            restarts: 1,
            lastExit: state == .stopped ? "exit code 0" : nil,
            ports: [],
            logFile: "/x.log",
            uptime: 61,
            cpuSeconds: cpu,
            memoryBytes: memory
        )
    }

    static func status(
        _ replicas: [ReplicaStatus],
        requests: Int = 0,
        launcher: Int32 = 100,
        _ change: (inout DeploymentStatus) -> Void = { _ in }
    ) -> DeploymentStatus {
        var status = DeploymentStatus(
            deployment: "chat",
            generation: 1,
            state: .ready,
            planes: PlaneSet(request: .tcp, events: .none),
            namespace: "chat",
            url: "http://127.0.0.1:8000",
            model: "echo",
            launcherPID: launcher,
            uptime: 61,
            replicas: replicas,
            gateway: GatewayReport(
                addresses: ["127.0.0.1:8000"],
                connections: 3,
                held: 0,
                heldBytes: 0,
                inFlight: 2,
                refused: 0,
                backends: [
                    .init(
                        name: "frontend",
                        generation: 1,
                        requests: requests,
                        inFlight: 2,
                        errors: 1,
                        retries: 0,
                        isActive: true
                    )
                ]
            ),
            warnings: [],
            survivors: []
        )
        change(&status)
        return status
    }

    private static let three = status([replica("a"), replica("b", .stopped, pid: nil), replica("c")])

    @Test func `arrows and letters choose, and stay inside`() {
        var model = TopModel(deployment: "chat")
        #expect(model.press(.down).isEmpty && model.chosen == nil)
        _ = model.take(Self.three, at: .now)
        #expect(model.chosen == "a")
        for (key, chosen) in [
            (TopKey.down, "b"), (.character("j"), "c"), (.down, "c"), (.up, "b"), (.character("k"), "a"), (.up, "a"),
            (.end, "c"), (.home, "a"), (.pageDown, "c"), (.pageUp, "a"),
        ] {
            #expect(model.press(key).isEmpty)
            #expect(model.chosen == chosen, "\(key)")
        }
        // What was chosen is gone.
        _ = model.press(.end)
        _ = model.take(Self.status([Self.replica("a"), Self.replica("d")]), at: .now)
        #expect(model.chosen == "a")
    }

    @Test func `nothing is changed before a person has said yes`() {
        var model = TopModel(deployment: "chat")
        _ = model.take(Self.three, at: .now)
        #expect(model.press(.character("r")) == [.outline(.restart, "a")])
        #expect(model.question == nil)
        model.take(OrderOutline(replicas: ["a"], dependents: ["c"]), of: .restart, "a")
        #expect(model.question == TopModel.Question(order: .restart, replica: "a", dependents: ["c"]))
        for key in [TopKey.character("n"), .enter, .escape, .character("q"), .down] {
            var other = model
            #expect(other.press(key) == [] && other.question == nil, "\(key)")
            #expect(other.message == "nothing was done")
        }
        #expect(model.press(.character("y")) == [.obey(.restart, "a")])
        #expect(model.question == nil)
        // What is stopped is started.
        _ = model.press(.down)
        #expect(model.press(.character("s")) == [.outline(.start, "b")])
        _ = model.press(.down)
        #expect(model.press(.character("s")) == [.outline(.stop, "c")])
    }

    @Test func `Ctrl-C leaves from everywhere, q goes back first`() {
        var model = TopModel(deployment: "chat")
        _ = model.take(Self.three, at: .now)
        #expect(model.press(.character("?")).isEmpty && model.mode == .help)
        #expect(model.press(.interrupt) == [.quit])
        #expect(model.press(.character("q")).isEmpty && model.mode == .processes)
        #expect(model.press(.character("l")) == [.readLog("a")])
        model.take(log: ["one", "two"], of: "a")
        #expect(model.mode == .logs(of: "a", ["one", "two"]))
        // Read again with each status; what comes late of another one is nobody's.
        #expect(model.take(Self.three, at: .now) == [.readLog("a")])
        model.take(log: ["three"], of: "c")
        #expect(model.mode == .logs(of: "a", ["one", "two"]))
        #expect(model.press(.suspend) == [.suspend])
        #expect(model.press(.escape).isEmpty && model.mode == .processes)
        model.take(log: ["late"], of: "a")
        #expect(model.mode == .processes)
        #expect(model.press(.character("q")) == [.quit])
    }

    @Test func `processor time and requests become what they are in a second`() {
        var model = TopModel(deployment: "chat")
        let start = ContinuousClock.now
        _ = model.take(Self.status([Self.replica("a", cpu: 1), Self.replica("b", cpu: 5)], requests: 10), at: start)
        #expect(model.processorShares.isEmpty && model.rates.isEmpty)
        let replicas = [Self.replica("a", cpu: 2), Self.replica("b", pid: 8, cpu: 0.5)]
        _ = model.take(Self.status(replicas, requests: 30), at: start + .seconds(2))
        // The other one is another process.
        #expect(model.processorShares == ["a": 0.5])
        #expect(model.rates == ["frontend": 10])
        model.fail("gone")
        #expect(model.trouble == "gone" && model.status != nil && model.rates.isEmpty)
        // Another launcher counts from the start again.
        _ = model.take(Self.status(replicas, requests: 1, launcher: 101), at: start + .seconds(3))
        #expect(model.trouble == nil && model.rates.isEmpty && model.processorShares.isEmpty)
    }

    @Test func `keys are what terminals send, also in pieces`() {
        var keys = TopKeys()
        #expect(
            keys.decode(Array("jq\u{1B}[A\u{1B}OB\u{1B}[5~\u{1B}[6~\u{1B}[1~\u{1B}[F\r".utf8)) == [
                .character("j"), .character("q"), .up, .down, .pageUp, .pageDown, .home, .end, .enter,
            ]
        )
        #expect(keys.decode([0x1B]) == [.escape])
        #expect(keys.decode([0x03, 0x1A, 0x0C]) == [.interrupt, .suspend, .redraw])
        #expect(keys.decode([0x1B, 0x5B]) == [])
        #expect(keys.decode(Array("B".utf8)) == [.down])
        // A sequence that is not ours, then a letter that takes two bytes.
        #expect(keys.decode(Array("\u{1B}[1;5X".utf8) + [0xC3]) == [])
        #expect(keys.decode([0xA9]) == [.character("\u{E9}")])
        #expect(keys.decode([0x1B, 0x5B] + Array(repeating: 0x30, count: 40)) == [])
        #expect(keys.decode(Array("k".utf8)) == [.character("k")])
    }
}
