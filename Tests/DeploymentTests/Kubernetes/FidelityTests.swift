import Testing

@testable import Deployment

@Suite
struct FidelityTests {
    /// A key that was added, and a mapping that was added, must be judged before it can be released.
    @Test func everyKeyOfAManifestIsJudgedForEveryForm() throws {
        let text = try Fixtures.text("Sources/Deployment/Manifest/ManifestKey.swift")
        let lists = text.matches(of: /static let (\w+) = \[/).map { String($0.1) }
        #expect(lists.count > 20)
        // Words of a probe are values.
        #expect(Set(lists) == Set(ManifestContext.allCases.map(\.rawValue)).union(["probeWords"]))
        let manifest = try ManifestCase("name: x\nmodel: m\nprocesses:\n  worker: {builtin: worker}\n").manifest()
        for target in FidelityReport.Target.allCases {
            let rules = FidelityRules(target: target, manifest: manifest)
            for context in ManifestContext.allCases {
                for key in context.keys {
                    #expect(rules.rule(Self.use(context, key)) != nil, "\(target) has no rule for \(context).\(key)")
                }
                #expect(rules.rule(Self.use(context, "no-such-key")) == nil)
            }
        }
    }

    private static func use(_ context: ManifestContext, _ key: String) -> ManifestUse {
        let place = Location(file: "x.yaml", line: 1, column: 1)
        let value = ManifestNode(location: place, content: .scalar(.init(text: "5")))
        return ManifestUse(context: context, key: key, path: "a.\(key)", location: place, value: value)
    }

    static let manifest = """
        name: chat
        model: Qwen/Qwen3-0.6B
        planes: {request: tcp}
        discovery: file
        inherit: [HOME]
        http: {host: 127.0.0.1, port: 8000}
        gateway:
          hold: {requests: 5}
        processes:
          frontend: {module: dynamo.frontend}
          worker:
            module: dynamo.vllm
            args: [--model, "{{model}}"]
            replicas: 2
            gpus: [0, 1]
            ports: {system: "{{8081 + index}}"}
            probes: {health: notify}
            restart: {policy: on-failure, maxRestarts: 3}
            stop: {signal: INT, grace: 30s}
            timing: {startupTimeout: 20m, probeTimeout: 500ms}
        """

    private func statuses(_ target: FidelityReport.Target) throws -> [String: FidelityEntry] {
        let manifest = try ManifestCase(Self.manifest).manifest()
        let report = FidelityReport(manifest, for: target)
        return Dictionary(report.entries.map { ($0.key, $0) }) { first, _ in first }
    }

    @Test func plainObjectsKeepWhatTheyCanAndSayWhatTheyCannot() throws {
        let entries = try self.statuses(.plain)
        for (key, status) in [
            ("name", FidelityEntry.Status.kept), ("planes.request", .kept), ("discovery", .approximated),
            ("inherit", .lost), ("http.host", .approximated), ("http.port", .kept), ("gateway.hold.requests", .lost),
            ("processes.worker.replicas", .kept), ("processes.worker.gpus", .approximated),
            ("processes.worker.ports", .approximated), ("processes.worker.probes.health", .lost),
            ("processes.worker.restart.policy", .approximated), ("processes.worker.restart.maxRestarts", .lost),
            ("processes.worker.stop.signal", .lost), ("processes.worker.stop.grace", .kept),
            ("processes.worker.timing.startupTimeout", .kept),
            ("processes.worker.timing.probeTimeout", .approximated),
        ] {
            #expect(entries[key]?.status == status, "\(key): \(entries[key]?.description ?? "not there")")
        }
        #expect(entries["processes.worker.stop.signal"]?.location?.description == "test.yaml:19:12")
    }

    @Test func theOperatorHasPortsAndProbesOfItsOwn() throws {
        let entries = try self.statuses(.operator)
        #expect(entries["processes.worker.ports"]?.how?.contains("9090") == true)
        #expect(entries["processes.worker.probes.health"]?.status == .approximated)
    }

    @Test func aServiceOfThisMachineKeepsNearlyAll() throws {
        let entries = try self.statuses(.systemd)
        #expect(entries.values.filter { $0.status != .kept }.map(\.key) == ["inherit"])
    }

    @Test func theReportNamesWhatIsNotKept() throws {
        let manifest = try ManifestCase(Self.manifest).manifest()
        let report = FidelityReport(manifest, for: .plain)
        #expect(report.hasLosses)
        let lines = report.lines(isWhole: false)
        #expect(lines[0].hasPrefix("the manifest as plain objects: "))
        #expect(lines.count == 1 + report.count(.approximated) + report.count(.lost))
        #expect(lines.contains { $0.hasPrefix("test.yaml:19:12: lost: processes.worker.stop.signal: ") })
        #expect(report.lines(isWhole: true).count == 1 + report.entries.count)
    }

    /// What has no effect in a cluster is not called kept.
    @Test func migrationImagesAndQuestionsAreJudgedByWhatIsDoneWithThem() throws {
        let text = """
            name: x
            model: m
            unset: [A]
            migration: {drainTimeout: 5s, rollbackWindow: 1m, canary: [{prompt: hi}], thresholds: {minimumRequests: 5, firstToken: 2}}
            kubernetes: {route: {gateway: edge}, images: {dynamo: "x:1", launcher: "y:1"}}
            processes:
              frontend: {builtin: frontend, kubernetes: {image: "z:1", requests: {cpu: 1}, autoscaling: {max: 2}}}
              worker: {builtin: worker, unset: [B], probes: {health: {http: {url: "http://127.0.0.1:9090/health", contains: ok}}}}
              engine: {module: dynamo.mocker, probes: {health: {http: {url: "http://127.0.0.1:9090/health", contains: ok}}}}
            """
        let manifest = try ManifestCase(text).manifest()
        func judge(_ target: FidelityReport.Target, _ wanted: [String: FidelityEntry.Status]) {
            let entries = FidelityReport(manifest, for: target).entries
            for (key, status) in wanted {
                let entry = entries.first { $0.key == key || $0.key.hasPrefix("\(key).") }
                #expect(entry?.status == status, "\(target): \(entry?.description ?? "no \(key)")")
            }
        }
        judge(
            .plain,
            [
                "unset": .approximated, "migration.drainTimeout": .lost, "migration.rollbackWindow": .lost,
                "migration.canary": .lost, "migration.thresholds.minimumRequests": .kept,
                "migration.thresholds.firstToken": .lost, "kubernetes.route": .kept,
                "processes.worker.unset": .approximated, "processes.worker.probes.health": .approximated,
                "processes.engine.probes.health": .kept, "processes.frontend.kubernetes.image": .kept,
            ]
        )
        judge(
            .singlePod,
            [
                "unset": .kept, "migration.drainTimeout": .kept, "kubernetes.route": .kept,
                "kubernetes.images.dynamo": .lost, "kubernetes.images.launcher": .kept,
                "processes.frontend.kubernetes.image": .lost, "processes.frontend.kubernetes.autoscaling": .lost,
                "processes.worker.probes.health": .kept,
            ]
        )
    }

    private static func statuses(
        _ text: String,
        _ target: FidelityReport.Target,
        _ facts: FidelityReport.Facts = .init()
    ) throws -> [String: FidelityEntry.Status] {
        let report = FidelityReport(try ManifestCase("name: x\nmodel: m\n" + text).manifest(), for: target, facts)
        return Dictionary(report.entries.map { ($0.key, $0.status) }) { first, _ in first }
    }

    @Test func oneWordIsJudgedAsTheKeyThatItStandsFor() throws {
        let text = """
            gateway: {listeners: ["127.0.0.1:8001", {unix: /tmp/a}, "unix:/tmp/b"]}
            processes:
              frontend: {builtin: frontend, restart: never}
              worker: {builtin: worker, restart: on-failure}
              other: {builtin: worker, restart: always}
            """
        let plain = try Self.statuses(text, .plain)
        #expect(plain["processes.frontend.restart"] == .lost)
        #expect(plain["processes.worker.restart"] == .approximated)
        #expect(plain["processes.other.restart"] == .kept)
        for (target, status) in [(FidelityReport.Target.plain, FidelityEntry.Status.lost), (.singlePod, .approximated)]
        {
            let entries = try Self.statuses(text, target)
            for key in ["0", "1.unix", "2"] {
                #expect(entries["gateway.listeners.\(key)"] == status, "\(target): \(key)")
            }
        }
    }

    @Test func aServerInWhosePlaceThereIsAnotherIsNotKept() throws {
        let text = """
            planes: nats
            discovery: etcd
            infrastructure: {nats: {managed: true, args: [-D], jetstream: true}, etcd: {managed: true, args: [--x]}}

            """
        let ours = "processes: {frontend: {builtin: frontend}}\n"
        let dynamo = "processes: {frontend: {module: dynamo.frontend}}\n"
        let kept = try Self.statuses(text + ours, .plain)
        for key in [
            "discovery", "infrastructure.nats.args", "infrastructure.nats.jetstream", "infrastructure.etcd.args",
        ] {
            #expect(kept[key] == .kept, "\(key)")
        }
        for target in [FidelityReport.Target.plain, .singlePod] {
            let other = try Self.statuses(
                text + ours + "kubernetes: {nats: \"nats://n:4222\", etcd: [\"http://e:2379\"]}",
                target
            )
            for key in ["nats.args", "nats.jetstream", "etcd.args"] {
                #expect(other["infrastructure.\(key)"] == .lost, "\(key)")
            }
            #expect(other["infrastructure.nats.managed"] == .approximated)
        }
        // All are Dynamo's, and find each other through the API server.
        let server = try Self.statuses(text + dynamo, .plain)
        #expect(server["discovery"] == .approximated)
        #expect(server["infrastructure.etcd.args"] == .lost && server["infrastructure.etcd.managed"] == .approximated)
        #expect(try Self.statuses(text + dynamo, .singlePod)["infrastructure.etcd.args"] == .kept)
    }

    @Test func whatIsKnownBesideTheManifestIsJudgedToo() throws {
        let idle = "gateway: {idleExit: 5m}\nprocesses: {frontend: {builtin: frontend}}\n"
        #expect(try Self.statuses(idle, .systemd)["gateway.idleExit"] == .approximated)
        #expect(try Self.statuses(idle, .systemd, .init(hasSocket: false))["gateway.idleExit"] == .lost)
        let text = """
            name: chat
            model: m
            processes:
              frontend: {builtin: frontend}
              worker:
                builtin: worker
                replicas: 2
                args: [--seed, "{{index}}"]
                kubernetes: {requests: {cpu: 1}, autoscaling: {max: 3}}
            """
        let plan = try ClusterPlannerTests.plan(text, release: nil)
        #expect(!PlainObjects.objects(of: plan).contains { $0.kind == "HorizontalPodAutoscaler" })
        let report = FidelityReport(try ManifestCase(text).manifest(), for: .plain, .init(plan))
        let scaling = report.entries.first { $0.key.hasPrefix("processes.worker.kubernetes.autoscaling") }
        #expect(scaling?.status == .lost)
    }

    @Test func whoSaysNothingOfInheritIsToldOfIt() throws {
        for target in FidelityReport.Target.allCases {
            let said = try Self.statuses("inherit: none\nprocesses: {frontend: {builtin: frontend}}\n", target)
            #expect(said["inherit"] == .kept && said["inherit (by default)"] == nil)
            let unsaid = try Self.statuses("processes: {frontend: {builtin: frontend}}\n", target)
            #expect(unsaid["inherit (by default)"] == .approximated)
        }
    }

    @Test func whoSaysNothingOfAGatewayIsToldOfIt() throws {
        let text = "name: x\nmodel: m\nprocesses:\n  frontend: {builtin: frontend}\n  worker: {builtin: worker}\n"
        let plain = FidelityReport(try ManifestCase(text).manifest(), for: .plain)
        #expect(plain.entries.contains { $0.key.hasPrefix("gateway") && $0.status == .approximated })
        #expect(!plain.hasLosses)
        let without = FidelityReport(try ManifestCase("gateway: false\n" + text).manifest(), for: .plain)
        #expect(!without.entries.contains { $0.key.hasPrefix("gateway") && $0.status != .kept })
        let systemd = FidelityReport(try ManifestCase(text).manifest(), for: .systemd)
        #expect(systemd.entries.filter { $0.status != .kept }.map(\.key) == ["inherit (by default)"])
    }
}
