import Testing

@testable import Deployment

/// What is understood of command lines, and which processes belong together.
@Suite struct AdoptionTests {
    static let shell = ["PATH": "/usr/bin", "HOME": "/home/ada"]

    /// What upstream's request planes script starts.
    static func script(plane: String, workerPlane: String? = nil, secret: String? = nil) -> [RunningProcess] {
        var shared = Self.shell
        shared["DYN_REQUEST_PLANE"] = plane
        shared["HF_TOKEN"] = secret
        var worker = shared
        worker["DYN_REQUEST_PLANE"] = workerPlane ?? plane
        worker["DYN_SYSTEM_PORT"] = "8081"
        worker["DYN_HEALTH_CHECK_ENABLED"] = "true"
        worker["CUDA_VISIBLE_DEVICES"] = "1"
        let script = ["bash", "agg_request_planes.sh", "--\(plane)"]
        return [
            RunningProcess(
                pid: 812,
                parent: 800,
                arguments: ["python", "-m", "dynamo.frontend"],
                environment: shared,
                workingDirectory: "/srv/demo",
                listeners: [.init(host: "0.0.0.0", port: 8000)],
                program: "/usr/bin/python3",
                parentArguments: script
            ),
            RunningProcess(
                pid: 815,
                parent: 800,
                arguments: [
                    "python", "-m", "dynamo.vllm", "--model", "Qwen/Qwen3-0.6B", "--enforce-eager",
                    "--kv-events-config", #"{"publisher":"zmq","endpoint":"tcp://*:20080"}"#,
                ],
                environment: worker,
                workingDirectory: "/srv/demo",
                listeners: [.init(host: "0.0.0.0", port: 8081)],
                program: "/usr/bin/python3",
                parentArguments: script
            ),
        ]
    }

    static func deployment(_ processes: [RunningProcess], release: String = "1.2.1") throws -> FoundDeployment {
        let found = processes.compactMap { FoundProcess($0) }.map { process in
            var process = process
            process.release = DynamoRelease(release)
            return process
        }
        let groups = FoundDeployment.group(found)
        try #require(groups.count == 1, "\(groups.map { $0.processes.map(\.pid) })")
        return groups[0]
    }

    @Test(arguments: [
        (["python", "-m", "dynamo.frontend"], "frontend", 0),
        (["/v/bin/python3.11", "-um", "dynamo.vllm", "-x"], "vllm", 1),
        (["python3", "-X", "dev", "-u", "-m", "dynamo.sglang.main", "--a", "b"], "sglang", 2),
        (["/opt/x/dynamo-worker", "--name", "m"], "worker", 2), (["dynamo-router"], "router", 0),
    ])
    func itsCommandLinesAreKnown(_ words: [String], _ component: String, _ arguments: Int) throws {
        let invocation = try #require(DynamoInvocation(words))
        #expect(invocation.component == component)
        #expect(invocation.arguments.count == arguments)
    }

    @Test(arguments: [
        ["python", "dynamo.py"], ["python", "-c", "import x", "-m", "dynamo.vllm"], ["bash", "-m", "dynamo.vllm"],
        ["python", "-m", "dynamo.planner"], ["python", "-m"], ["vim", "dynamo-worker"], [],
        ["python", "-m", "dynamos.vllm"],
        ["dynamo-launch", "up"],
    ])
    func othersAreLeftOut(_ words: [String]) { #expect(DynamoInvocation(words) == nil) }

    @Test func aFlagWinsOverItsVariableAndTheLastOneCounts() throws {
        let process = try #require(
            FoundProcess(
                RunningProcess(
                    pid: 1,
                    arguments: [
                        "python", "-m", "dynamo.frontend", "--request-plane", "http", "--http-port=8010",
                        "--request-plane=nats",
                    ],
                    environment: ["DYN_REQUEST_PLANE": "tcp", "DYN_HTTP_PORT": "9000"]
                )
            )
        )
        #expect(process.requestPlane == .init(value: "nats", source: "--request-plane"))
        #expect(process.httpPort == 8010)
        #expect(process.nats == .init(value: "nats://localhost:4222", source: nil))
        #expect(process.discovery.backend == .init(value: "etcd", source: nil))
    }

    @Test func whoFindsEachOtherBelongsTogether() {
        func process(_ pid: Int32, _ module: String, _ environment: [String: String]) -> FoundProcess? {
            FoundProcess(RunningProcess(pid: pid, arguments: ["python", "-m", module], environment: environment))
        }
        let file = ["DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": "/run/a"]
        let etcd = ["ETCD_ENDPOINTS": "http://127.0.0.1:2379"]
        let all = [
            // Two with namespaces of their own in one folder.
            process(1, "dynamo.frontend", file.merging(["DYN_NAMESPACE": "a"]) { $1 }),
            process(2, "dynamo.mocker", file.merging(["DYN_NAMESPACE": "a"]) { $1 }),
            process(3, "dynamo.mocker", file.merging(["DYN_NAMESPACE": "b"]) { $1 }),
            // A frontend that sees all, and the same etcd in other words.
            process(4, "dynamo.frontend", etcd), process(5, "dynamo.vllm", ["DYN_NAMESPACE": "x"]),
            process(6, "dynamo.vllm", [:]),
        ].compactMap { $0 }
        #expect(FoundDeployment.group(all).map { $0.processes.map(\.pid) } == [[1, 2], [3], [4, 5, 6]])
    }

    @Test func whatDiffersAndMustNotIsNamed() throws {
        #expect(try Self.deployment(Self.script(plane: "tcp")).differences == [])
        let mixed = try Self.deployment(Self.script(plane: "tcp", workerPlane: "nats"))
        #expect(
            mixed.differences == [
                "the request plane differs: frontend (pid 812): tcp (DYN_REQUEST_PLANE), vllm (pid 815): nats (DYN_REQUEST_PLANE); "
                    + "a frontend reaches only workers of its own plane, so requests for the others fail"
            ]
        )
        #expect(mixed.requestPlane == "tcp", "the frontend's counts")
    }

    @Test(arguments: [
        ("0::/system.slice/chat.service", "chat.service", false),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/chat.service/sub", "chat.service", true),
    ])
    func itsServiceIsFound(_ group: String, _ name: String, _ isUser: Bool) {
        #expect(RunningProcess.Unit(controlGroup: group) == RunningProcess.Unit(name: name, isUser: isUser))
    }

    @Test(arguments: [
        "/user.slice/user-1000.slice/session-3.scope",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/tmux-spawn-1.scope", "/",
    ])
    func aSessionIsNoService(_ group: String) { #expect(RunningProcess.Unit(controlGroup: group) == nil) }

    @Test func theAdviceNamesPortsPidsAndServices() throws {
        var processes = Self.script(plane: "nats")
        processes[1].unit = .init(name: "worker.service", isUser: true)
        let deployment = try Self.deployment(processes)
        let manifest = AdoptedManifest(deployment)
        let advice = AdoptionAdvice(deployment, manifest, .init(), file: "chat.yaml")
        #expect(advice.stopCommands == ["systemctl --user stop worker.service", "kill 812"])
        let text = advice.lines.joined(separator: "\n")
        #expect(text.contains("frontend (pid 812) has port 8000 itself"))
        #expect(text.contains("pid 800 (bash agg_request_planes.sh ...) has started processes of it"))
        #expect(text.contains("dynamo-launch up chat.yaml"))
        #expect(
            text.contains(
                "Both cannot run side by side: frontend (pid 812) takes the workers of every namespace in etcd"
            )
        )
    }

    @Test func besideTheOldOneThePortIsOneThatNobodyHas() throws {
        var processes = Self.script(plane: "tcp")
        for index in processes.indices {
            processes[index].environment?["DYN_DISCOVERY_BACKEND"] = "file"
            processes[index].environment?["DYN_HTTP_PORT"] = "8080"
        }
        let deployment = try Self.deployment(processes)
        let advice = AdoptionAdvice(deployment, AdoptedManifest(deployment), .init(), file: "chat.yaml")
        #expect(advice.lines.contains { $0.contains("up chat.yaml --set http.port=8082") }, "8081 is the worker's")
    }
}
