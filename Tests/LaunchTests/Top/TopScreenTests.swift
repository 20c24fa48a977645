import Deployment
import Supervisor
import Testing

@testable import dynamo_launch

/// What the terminal view looks like in terminals of all sizes.
@Suite struct TopScreenTests {
    private static func model(_ count: Int, chosen: Int = 0) -> TopModel {
        var model = TopModel(deployment: "chat")
        let start = ContinuousClock.now
        func replicas(_ cpu: Double) -> [ReplicaStatus] {
            (0..<count).map { TopModelTests.replica("worker-\($0)", cpu: cpu, memory: 29_464_985) }
        }
        _ = model.take(TopModelTests.status(replicas(1), requests: 0), at: start)
        let status = TopModelTests.status(replicas(1.25), requests: 25) {
            $0.warnings = ["the disk for logs is full: a long sentence that has more words than narrow terminals take"]
            $0.migration = MigrationStatus(
                id: 2,
                from: .init(number: 1, requestPlane: "tcp"),
                to: .init(number: 2, requestPlane: "nats"),
                strategy: .blueGreen,
                step: .canary,
                stages: 2
            )
        }
        _ = model.take(status, at: start + .seconds(2))
        model.take((0..<40).map { LaunchEvent("event \($0) \u{1B}[31m", level: .warning, generation: 1) })
        for _ in 0..<chosen { _ = model.press(.down) }
        return model
    }

    private static func text(_ model: TopModel, width: Int, height: Int, colour: Bool = false) -> [String] {
        TopScreen(style: MigrationView.Style(width: width, height: height, colour: colour)).text(model)
    }

    @Test func `a usual terminal has all of it`() {
        var model = TopModel(deployment: "chat")
        let start = ContinuousClock.now
        _ = model.take(
            TopModelTests.status([TopModelTests.replica("a", cpu: 1), TopModelTests.replica("b")], requests: 10),
            at: start
        )
        let replicas = [
            TopModelTests.replica("a", cpu: 1.25, memory: 29_464_985), TopModelTests.replica("b", .stopped, pid: nil),
        ]
        _ = model.take(TopModelTests.status(replicas, requests: 35), at: start + .seconds(2))
        _ = model.press(.down)
        model.take(gpuMemory: ["a": 3 << 30])
        model.take([
            LaunchEvent("a: ready", level: .info, generation: 1, time: LogTime("2026-01-31T12:00:01.500Z") ?? .now)
        ])
        #expect(
            Self.text(model, width: 100, height: 16) == [
                "chat: ready, 1 of 2 ready, up 61.0 s, launcher pid 100",
                "planes: request tcp, events none, response tcp; http://127.0.0.1:8000; model echo",
                "gateway: 2 in flight, 0 held, 0 refused, 3 connections, 12.5 requests/s",
                "",
                "  PROCESS STATE   LAYER  PID    AGE RESTARTS CPU%   MEMORY GPU MEM NOTE",
                "  a       ready   health   7 61.0 s        1 12.5 28.1 MiB 3.0 GiB",
                "> b       stopped health   - 61.0 s        1    -        -       - exit code 0",
                "",
                "12:00:01  a: ready",
                "", "", "", "", "", "",
                "q quit  \u{2191}\u{2193} choose  r restart  s stop/start  l logs  ? help",
            ]
        )
        let tall = Self.text(model, width: 100, height: 20)
        #expect(tall.contains("  BACKEND  GETS     IN FLIGHT REQUESTS A SECOND ERRORS RETRIES"), "\(tall)")
        #expect(tall.contains("  frontend requests         2       35     12.5      1       0"), "\(tall)")
    }

    @Test func `no line is too wide and none too many, the chosen process is seen, and no colour is where none may be`()
    {
        for width in [1, 2, 7, 20, 33, 47, 80, 132, 200] {
            for height in 1...40 {
                for (count, chosen) in [(0, 0), (1, 0), (3, 2), (60, 0), (60, 31), (60, 59)] {
                    for mode in ["", "?", "l"] {
                        var model = Self.model(count, chosen: chosen)
                        if let key = mode.first { _ = model.press(.character(key)) }
                        model.take(log: (0..<300).map { "line \($0)" }, of: "worker-\(chosen)")
                        let lines = Self.text(model, width: width, height: height)
                        let place = "\(width)x\(height), \(count) processes, '\(mode)'"
                        guard lines.count <= height, lines.allSatisfy({ StyledLine.width(of: $0) <= width }),
                            !lines.contains(where: { $0.contains("\u{1B}") })
                        else {
                            Issue.record("\(place): \(lines)")
                            return
                        }
                        guard mode.isEmpty, count > 0, width >= 20, height >= 5 else { continue }
                        guard lines.contains(where: { $0.hasPrefix("> worker-\(chosen) ") }) else {
                            Issue.record("\(place): worker-\(chosen) cannot be seen: \(lines)")
                            return
                        }
                    }
                }
            }
        }
    }

    @Test func `a narrow terminal keeps what matters most`() {
        let lines = Self.text(Self.model(2), width: 40, height: 24)
        #expect(lines.contains("> worker-0 ready health 12.5 28.1 MiB"), "\(lines)")
        #expect(lines.last?.hasPrefix("q quit") == true)
        #expect(lines.contains { $0.hasPrefix("migration: 2, generation 1 (tcp)") }, "\(lines)")
    }

    @Test func `a launcher that is gone is said, and what it said last stays`() {
        var model = Self.model(2)
        model.fail("no launcher serves /run/x")
        let lines = Self.text(model, width: 100, height: 24)
        #expect(lines[0] == "chat: its launcher does not answer")
        #expect(lines[1] == "no launcher serves /run/x; this is what it said last, and it is asked again")
        #expect(lines.contains { $0.hasPrefix("> worker-0 ") })
        var nothing = TopModel(deployment: "chat")
        nothing.fail("no launcher serves /run/x")
        #expect(Self.text(nothing, width: 100, height: 24)[0] == "chat: no launcher serves /run/x")
    }

    @Test func `a question takes the last line, and names who goes on`() {
        var model = Self.model(2)
        model.take(OrderOutline(replicas: ["worker-0"], dependents: ["frontend"]), of: .stop, "worker-0")
        let lines = Self.text(model, width: 100, height: 24, colour: true)
        #expect(lines.last == "\u{1B}[1mstop worker-0?  y/n  (frontend depend on it and go on)\u{1B}[0m")
        _ = model.press(.character("n"))
        #expect(Self.text(model, width: 100, height: 24).last == "nothing was done")
    }

    @Test func `as plain text it has everything, and no keys`() {
        var screen = TopScreen(style: MigrationView.Style(width: .max), isPlain: true)
        screen.style.colour = false
        let lines = screen.text(Self.model(60))
        #expect(lines.filter { $0.hasPrefix("  worker-") }.count == 60)
        #expect(lines.filter { $0.contains("  event ") }.count == 10)
        #expect(!lines.contains { $0.contains("q quit") || $0.hasPrefix(">") })
    }
}
