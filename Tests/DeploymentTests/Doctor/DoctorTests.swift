import Testing

@testable import Deployment

/// What is found in processes that serve together, each from the facts alone.
@Suite struct DoctorTests {
    static let place = "file /run/kv"

    /// A process that finds others in `/run/kv`, has opened its ports, and is of release 1.6.1 unless another is given.
    static func process(
        _ pid: Int32,
        _ module: String,
        _ variables: [String: String] = [:],
        release: String = "1.6.1",
        listens: Bool = true
    ) throws -> FoundProcess {
        let shared = ["DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": "/run/kv", "DYN_NAMESPACE": "chat"]
        var running = RunningProcess(
            pid: pid,
            arguments: ["python", "-m", "dynamo.\(module)"],
            environment: shared.merging(variables) { $1 }.filter { !$0.value.isEmpty }
        )
        let ports = try #require(FoundProcess(running)).wantedPorts.map(\.port)
        if listens { running.listeners = ports.map { .init(host: "0.0.0.0", port: $0) } }
        var process = try #require(FoundProcess(running))
        process.release = DynamoRelease(release)
        return process
    }

    /// A frontend and a worker, which discovery has.
    static func facts(
        frontend: [String: String] = [:],
        worker: [String: String] = [:],
        release: String = "1.6.1",
        listens: Bool = true,
        change: (inout DoctorFacts) -> Void = { _ in }
    ) throws -> DoctorFacts {
        var facts = DoctorFacts(
            processes: [
                try Self.process(812, "frontend", frontend, release: release, listens: listens),
                try Self.process(815, "vllm", worker, release: release),
            ],
            discoveries: [.init(place: Self.place, instances: [Self.record()])]
        )
        change(&facts)
        return facts
    }

    static func record(
        namespace: String = "chat",
        plane: String = "tcp",
        reach: DoctorFacts.Registered.Reach = .open
    ) -> DoctorFacts.Registered {
        .init(
            namespace: namespace,
            endpoint: "backend.generate",
            id: "a1",
            plane: plane,
            address: "10.0.0.5:4000/a1/generate",
            reach: reach,
            pid: 815
        )
    }

    /// Everything that is found, `severity kind`.
    static func kinds(_ facts: DoctorFacts) -> [String] {
        Doctor(facts).findings.map { "\($0.severity.rawValue) \($0.kind.rawValue)" }
    }

    static func only(_ facts: DoctorFacts) throws -> Finding {
        let findings = Doctor(facts).findings
        try #require(findings.count == 1, "\(findings)")
        return findings[0]
    }

    @Test func nothingIsFoundWhereNothingIsWrong() throws {
        #expect(try Doctor(Self.facts()).findings == [])
        let server = DoctorFacts.NATSServer(
            version: "2.10.7",
            maxPayload: 8 << 20,
            hasHeaders: true,
            hasJetStream: true
        )
        let nats = ["DYN_REQUEST_PLANE": "nats", "NATS_SERVER": "nats://n:4222"]
        let facts = try Self.facts(frontend: nats, worker: nats) {
            $0.nats = ["nats://n:4222": .server(server)]
            $0.discoveries[0].instances = [Self.record(plane: "nats", reach: .unasked)]
            $0.instances = [815: "a1"]
            $0.launched = .init(
                name: "chat",
                replicas: [.init(name: "worker", role: .worker, state: "ready", logFile: "/l")]
            )
        }
        #expect(Doctor(facts).findings == [])
    }

    // MARK: What processes were told

    @Test func differentPlanesAreNamedWithWhoSaidThem() throws {
        let finding = try Self.only(
            Self.facts(frontend: ["DYN_REQUEST_PLANE": "tcp"], worker: ["DYN_REQUEST_PLANE": "nats"]) {
                $0.discoveries = []
            }
        )
        #expect(finding.kind == .requestPlanesDiffer && finding.severity == .error)
        #expect(
            finding.evidence == [
                "frontend (pid 812): tcp (DYN_REQUEST_PLANE)", "vllm (pid 815): nats (DYN_REQUEST_PLANE)",
            ]
        )
    }

    @Test func ourFrontendReachesEveryPlane() throws {
        let facts = try Self.facts(worker: ["DYN_REQUEST_PLANE": "nats"]) {
            $0.processes[0] =
                FoundProcess(
                    RunningProcess(
                        pid: 812,
                        arguments: ["/opt/dynamo-frontend"],
                        environment: $0.processes[0].process.environment,
                        listeners: [.init(host: "0.0.0.0", port: 8000)]
                    )
                ) ?? $0.processes[0]
            $0.discoveries[0].instances = [Self.record(plane: "nats", reach: .unasked)]
        }
        #expect(Self.kinds(facts) == ["warning request-planes-differ"])
    }

    @Test(arguments: [
        ("DYN_EVENT_PLANE", "nats", "warning event-planes-differ"),
        ("DYN_RESPONSE_PLANE", "quic", "error response-planes-differ"),
        ("DYN_REQUEST_PLANE_CODEC", "json", "note codecs-differ"),
    ])
    func whatElseDiffers(_ variable: String, _ value: String, _ finding: String) throws {
        #expect(try Self.kinds(Self.facts(worker: [variable: value])) == [finding])
    }

    @Test func differentNATSServersAndReleasesAndPathsAndSeeds() throws {
        func nats(_ host: String) -> [String: String] {
            ["DYN_REQUEST_PLANE": "nats", "NATS_SERVER": "nats://u:secret@\(host)"]
        }
        let servers = try Self.only(Self.facts(frontend: nats("a"), worker: nats("b")) { $0.discoveries = [] })
        #expect(servers.kind == .natsServersDiffer && !servers.evidence.joined().contains("secret"))
        #expect(
            try Self.kinds(Self.facts { $0.processes[1].release = DynamoRelease("1.6.0") }) == ["note releases-differ"]
        )
        let http = ["DYN_REQUEST_PLANE": "http"]
        let path = http.merging(["DYN_HTTP_RPC_ROOT_PATH": "/v2"]) { $1 }
        let paths = try Self.facts(frontend: http, worker: path, release: "1.2.1") {
            $0.discoveries[0].instances = [Self.record(plane: "http")]
        }
        #expect(Self.kinds(paths) == ["error http-paths-differ"])
        let seeds = try Self.facts(frontend: ["DYN_ROUTER_MODE": "kv"], worker: ["PYTHONHASHSEED": "0"])
        #expect(Self.kinds(seeds) == ["warning hash-seeds-differ"])
    }

    @Test func aPlaneThatIsNone() throws {
        let both = ["DYN_REQUEST_PLANE": "tpc"]
        let findings = Doctor(try Self.facts(frontend: both, worker: both) { $0.discoveries = [] }).findings
        #expect(findings.map(\.kind) == [.invalidPlane, .invalidPlane])
        #expect(findings[0].what == "'tpc' is no request plane; did you mean 'tcp'?")
    }

    @Test func theHTTPPlaneOnAReleaseThatHasNone() throws {
        let http = ["DYN_REQUEST_PLANE": "http"]
        let facts = try Self.facts(frontend: http, worker: http) {
            $0.discoveries[0].instances = [Self.record(plane: "http")]
        }
        #expect(Self.kinds(facts) == ["error plane-not-in-release", "error plane-not-in-release"])
        #expect(Doctor(facts).findings[0].remedy == "set DYN_REQUEST_PLANE to tcp or nats for every process")
    }

    @Test func halvesOfTLS() throws {
        let whole = [
            "DYN_TCP_TLS_CERT_PATH": "/c", "DYN_TCP_TLS_KEY_PATH": "/k", "DYN_TCP_TLS_CA_CERT_PATH": "/a",
        ]
        #expect(try Doctor(Self.facts(frontend: whole, worker: whole)).findings == [])
        let keyless = whole.filter { $0.key != "DYN_TCP_TLS_KEY_PATH" }
        let half = try Self.only(Self.facts(frontend: whole, worker: keyless))
        #expect(half.kind == .halfOfTLS && half.remedy == "set DYN_TCP_TLS_KEY_PATH too, or neither")
        let trusting = whole.filter { $0.key != "DYN_TCP_TLS_CA_CERT_PATH" }
        let differs = try Self.only(Self.facts(frontend: whole, worker: trusting))
        #expect(differs.kind == .tlsDiffers)
        #expect(differs.evidence[1] == "vllm (pid 815): takes TLS connections, opens plain ones")
        let old = try Self.facts(frontend: whole, worker: whole) { $0.processes[1].release = DynamoRelease("1.2.1") }
        #expect(Self.kinds(old).contains("error tls-differs"))
    }

    @Test func anEnvironmentThatCannotBeRead() throws {
        let process = try #require(
            FoundProcess(RunningProcess(pid: 7, arguments: ["python", "-m", "dynamo.vllm"], environment: nil))
        )
        #expect(Self.kinds(DoctorFacts(processes: [process])).contains("note environment-unreadable"))
    }

    // MARK: Discovery

    @Test func aRecordOnAnotherPlaneThanTheFrontend() throws {
        let finding = try Self.only(Self.facts { $0.discoveries[0].instances = [Self.record(plane: "nats")] })
        #expect(finding.kind == .recordOnOtherPlane)
        #expect(
            finding.evidence == [
                "frontend (pid 812): tcp (default)",
                "chat.backend.generate a1 of vllm (pid 815): nats at 10.0.0.5:4000/a1/generate",
            ]
        )
    }

    @Test(arguments: [
        (DoctorFacts.Registered.Reach.refused, "error stale-record"),
        (.blocked("no connection within 3 s"), "error address-blocked"),
    ])
    func anAddressThatAnswersNot(_ reach: DoctorFacts.Registered.Reach, _ finding: String) throws {
        #expect(try Self.kinds(Self.facts { $0.discoveries[0].instances = [Self.record(reach: reach)] }) == [finding])
    }

    @Test func recordsThatNobodyRenews() throws {
        let finding = try Self.only(
            Self.facts { $0.discoveries[0].expired = [.init(key: "v1/instances/chat/backend/generate/b2", age: 61.5)] }
        )
        #expect(finding.kind == .staleRecord && finding.severity == .warning)
        #expect(
            finding.evidence == ["v1/instances/chat/backend/generate/b2, not renewed for 61 s (file /run/kv)"]
        )
    }

    @Test func discoveryThatCannotBeReadSaysNothingElse() throws {
        let facts = try Self.facts { $0.discoveries[0] = .init(place: Self.place, failure: "refused") }
        #expect(Self.kinds(facts) == ["error discovery-unreadable"])
        var alone = facts
        alone.processes.removeLast()
        #expect(Self.kinds(alone) == ["error discovery-unreadable"])
    }

    @Test func aWorkerThatDiscoveryDoesNotHave() throws {
        #expect(try Self.kinds(Self.facts { $0.instances = [815: "b2"] }) == ["error not-registered"])
    }

    @Test(arguments: [["DYN_NAMESPACE": "dynamo"], ["DYN_NAMESPACE": ""], ["DYN_NAMESPACE_PREFIX": "chat"]])
    func aFrontendThatSeesOthersToo(_ variables: [String: String]) throws {
        let facts = try Self.facts(frontend: variables) {
            $0.discoveries[0].instances += [Self.record(namespace: "chat2")]
        }
        let finding = try Self.only(facts)
        #expect(finding.kind == .foreignWorkers && finding.severity == .warning)
        #expect(finding.evidence.contains { $0.hasPrefix("namespace chat2: ") })
        let both = try Self.facts(frontend: variables) {
            if let other = try? Self.process(816, "vllm", ["DYN_NAMESPACE": "chat2"]) { $0.processes.append(other) }
        }
        #expect(Self.kinds(both) == ["warning foreign-workers"])
        let alone = try Self.facts(frontend: variables)
        #expect(Doctor(alone).findings == [], "one namespace is in order")
    }

    @Test func aWorkerAndAFrontendThatDoNotSeeEachOther() throws {
        let facts = try Self.facts(worker: ["DYN_NAMESPACE": "other"]) {
            $0.discoveries[0].instances = [Self.record(namespace: "other")]
        }
        #expect(Self.kinds(facts) == ["error frontend-without-workers", "warning worker-without-frontend"])
        let alone = try Self.facts { $0.processes.removeFirst() }
        #expect(Self.kinds(alone) == ["warning worker-without-frontend"])
        let scripted = try Self.facts {
            $0.processes.removeFirst()
            $0.launched = .init(name: "c", replicas: [.init(name: "f", role: .frontend, state: "ready", logFile: "/l")])
        }
        #expect(Doctor(scripted).findings == [], "its frontend is a script")
        let empty = try Self.facts {
            $0.processes.removeLast()
            $0.discoveries[0].instances = []
        }
        #expect(Self.kinds(empty) == ["error frontend-without-workers"])
    }

    // MARK: Ports and servers

    @Test func aPortThatAnotherHasAndOneThatNobodyHas() throws {
        let taken = try Self.only(
            Self.facts(listens: false) { $0.holders = [8000: .init(pid: 9, words: "pid 9 (python3 -m http.server)")] }
        )
        #expect(taken.kind == .portTaken && taken.severity == .error)
        #expect(taken.evidence == ["pid 9 (python3 -m http.server) listens on it"])
        #expect(try Self.kinds(Self.facts(listens: false)) == ["warning port-not-open"])
    }

    @Test func aWorkerThatDoesNotSayThatItIsReady() throws {
        #expect(try Self.kinds(Self.facts { $0.processes[1].complaint = "'503'" }) == ["warning not-ready"])
    }

    private func onNATS(_ answer: DoctorFacts.NATSAnswer, _ more: [String: String] = [:]) throws -> DoctorFacts {
        let variables = ["DYN_REQUEST_PLANE": "nats", "NATS_SERVER": "nats://n:4222"].merging(more) { $1 }
        return try Self.facts(frontend: variables, worker: variables) {
            $0.nats = ["nats://n:4222": answer]
            $0.discoveries[0].instances = [Self.record(plane: "nats", reach: .unasked)]
        }
    }

    @Test(arguments: [
        (
            DoctorFacts.NATSServer(version: "2.1.9", maxPayload: 8 << 20, hasHeaders: true, hasJetStream: true),
            ["error nats-too-old"]
        ),
        (.init(version: "2.10.0", maxPayload: 8 << 20, hasHeaders: false, hasJetStream: true), ["error nats-too-old"]),
        (
            .init(version: "2.10.0", maxPayload: 1 << 20, hasHeaders: true, hasJetStream: true),
            ["note nats-payload-limit"]
        ),
        (
            .init(version: "2.10.0", maxPayload: 65536, hasHeaders: true, hasJetStream: true),
            ["warning nats-payload-limit"]
        ),
        (.init(version: "2.10.0", maxPayload: 8 << 20, hasHeaders: true, hasJetStream: false), []),
    ])
    func whatANATSServerLacks(_ server: DoctorFacts.NATSServer, _ findings: [String]) throws {
        #expect(try Self.kinds(self.onNATS(.server(server))) == findings)
    }

    @Test func aNATSServerThatIsNotThereOrHasNoJetStream() throws {
        #expect(try Self.kinds(self.onNATS(.silence("connection refused"))) == ["error nats-unreachable"])
        let server = DoctorFacts.NATSServer(
            version: "2.10.0",
            maxPayload: 8 << 20,
            hasHeaders: true,
            hasJetStream: false
        )
        let facts = try self.onNATS(.server(server), ["DYN_DURABLE_KV_EVENTS": "true"])
        #expect(Self.kinds(facts) == ["error nats-without-jetstream"])
        let url = "nats://u:secret@n:4222"
        let secret = try self.onNATS(.silence("refused"), ["NATS_SERVER": url])
        let answers = DoctorFacts(processes: secret.processes, nats: [url: .silence("refused")])
        let unreachable = try #require(Doctor(answers).findings.first { $0.kind == .natsUnreachable })
        #expect(!"\(unreachable)".contains("secret"))
    }

    @Test func aNATSServerThatNobodyNeeds() throws {
        let server = DoctorFacts.NATSServer(version: "2.10.0", maxPayload: 1024, hasHeaders: true, hasJetStream: false)
        let variables = ["NATS_SERVER": "nats://n:4222"]
        func kinds(_ answer: DoctorFacts.NATSAnswer) throws -> [String] {
            try Self.kinds(Self.facts(worker: variables) { $0.nats = ["nats://n:4222": answer] })
        }
        #expect(try kinds(.server(server)) == ["note nats-not-needed"])
        #expect(try kinds(.silence("connection refused")) == ["warning nats-not-needed"])
    }

    // MARK: The launcher

    @Test(arguments: [
        ("failed", 0, "error replica-down"), ("backing-off", 2, "error replica-down"),
        ("waiting", 0, "warning replica-waiting"), ("ready", 1, "warning replica-restarted"),
        ("stopped", 0, "note replica-down"),
    ])
    func whatALauncherKnowsOfAReplica(_ state: String, _ restarts: Int, _ finding: String) throws {
        let replica = DoctorFacts.Launched.Replica(
            name: "worker-0",
            role: .worker,
            state: state,
            waitingFor: "serving: 503",
            lastExit: "exit code 3",
            restarts: restarts,
            lines: ["out of memory"],
            logFile: "/log/worker-0.log"
        )
        let facts = try Self.facts { $0.launched = .init(name: "chat", replicas: [replica]) }
        #expect(Self.kinds(facts) == [finding])
        let evidence = try Self.only(facts).evidence
        #expect(evidence.contains("last exit: exit code 3") && evidence.contains("log: out of memory"))
    }

    @Test func `a launcher that is gone is a warning, with when it ended and what goes on`() throws {
        let time = "2026-03-01T10:12:07.000Z"
        let one = try Self.facts { $0.orphaned = .init(name: "chat", launcherEnded: time, running: 1) }
        #expect(Self.kinds(one) == ["warning launcher-gone"])
        let finding = try Self.only(one)
        #expect(finding.evidence == ["its launcher ended at \(time)", "1 process goes on"])
        #expect(
            finding.remedy.contains("dynamo-launch up MANIFEST") && finding.remedy.hasSuffix("dynamo-launch stop chat")
        )
        let more = try Self.facts { $0.orphaned = .init(name: "chat", launcherEnded: time, running: 3, ended: 2) }
        #expect(
            try Self.only(more).evidence.dropFirst() == [
                "3 processes go on", "2 processes have ended since and are not started again",
            ]
        )
    }

    @Test func aDeploymentThatHasFailedAndItsWarnings() throws {
        let facts = try Self.facts {
            $0.launched = .init(name: "chat", failure: "worker: exit code 3", warnings: ["disk full"])
        }
        #expect(Self.kinds(facts) == ["error deployment-failed", "warning deployment-warning"])
        #expect(Doctor(facts).findings.map(\.evidence) == [["worker: exit code 3"], ["disk full"]])
    }
}
