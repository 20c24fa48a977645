import Testing

@testable import Deployment

/// The manifest that runs what was found.
@Suite struct AdoptedManifestTests {
    @Test func theScriptOfUpstreamBecomesAManifest() throws {
        let processes = AdoptionTests.script(plane: "nats", secret: "hf_0123456789")
        let manifest = AdoptedManifest(try AdoptionTests.deployment(processes), .init(name: "chat", path: "/usr/bin"))
        #expect(
            manifest.text == #"""
                # Made by 'dynamo-launch adopt' from running processes: pid 812, 815.
                # Variables with other beginnings than Dynamo's and its engines' come from the shell that calls 'up'.
                name: chat
                planes: {request: nats, events: nats-core}
                infrastructure:
                  nats: 'nats://localhost:4222'
                discovery:
                  backend: etcd
                  endpoints: ['http://localhost:2379']
                http:
                  port: 8000
                dynamo:
                  python: /usr/bin/python3
                env:
                  HF_TOKEN: '${HF_TOKEN}'

                processes:
                  frontend:
                    module: dynamo.frontend
                    workingDirectory: /srv/demo

                  worker:
                    module: dynamo.vllm
                    args:
                      - --model
                      - Qwen/Qwen3-0.6B
                      - --enforce-eager
                      - --kv-events-config
                      - '{"publisher":"zmq","endpoint":"tcp://*:20080"}'
                    gpus: [1]
                    env:
                      DYN_HEALTH_CHECK_ENABLED: 'true'
                    workingDirectory: /srv/demo
                    timing: {startupTimeout: 20m}   # loading a model takes minutes
                    stop: {grace: 30s}

                """#
        )
        #expect(manifest.secrets == ["HF_TOKEN": "hf_0123456789"])
        #expect(manifest.notes.contains { $0.contains("system port of vllm (pid 815)") && $0.contains("8081") })
        #expect(!manifest.notes.contains { $0.contains("hf_0123456789") })
        #expect(!manifest.notes.contains { $0.contains("probes") })
    }

    @Test(arguments: ["tcp", "http", "nats"])
    func itsPlanStartsTheSame(_ plane: String) throws {
        let processes = AdoptionTests.script(plane: plane, secret: "hf_0123456789")
        let manifest = AdoptedManifest(try AdoptionTests.deployment(processes), .init(keepsPorts: true))
        var planned = ManifestCase(manifest.text)
        planned.environment.merge(manifest.secrets) { $1 }
        let plan = try planned.plan()
        for (replica, process) in zip(plan.replicas, processes) {
            #expect([replica.executable] + replica.arguments == ["/usr/bin/python3"] + process.arguments.dropFirst())
            let environment = Dictionary(uniqueKeysWithValues: replica.environment.map { ($0.name, $0.value) })
            for name in ["DYN_REQUEST_PLANE", "DYN_SYSTEM_PORT", "HF_TOKEN", "DYN_HEALTH_CHECK_ENABLED"] {
                #expect(environment[name] == process.environment?[name], "\(name) of \(replica.name)")
            }
            #expect(replica.workingDirectory == "/srv/demo")
        }
        #expect(plan.replicas.map(\.gpus) == [[], ["1"]])
        #expect(plan.publicAddress.port == 8000)
    }

    /// Texts with meaning in YAML, in the manifest and in templates come through as they are, and secrets are not written.
    @Test func argumentsComeThroughAsTheyAre() throws {
        let words = [
            "--a", "it's $HOME and ${HOME}", "--b", "{{index}}", "--c=", "", "8000", "true", "- x", "#", "ä\tß\"", "{}",
            "--endpoint", "dyn://dynamo.backend.generate", "--api-key", "sk-secret-1", "--hub-token=sk-secret-2",
            "--header", "Bearer hf_0123456789",
        ]
        let process = RunningProcess(
            pid: 7,
            arguments: ["/usr/bin/python3", "-X", "dev", "-m", "dynamo.mocker"] + words,
            environment: ["HF_TOKEN": "hf_0123456789", "NATS_SERVER": "nats://u:p@h:1", "DYN_REQUEST_PLANE": "nats"]
        )
        let frontend = RunningProcess(pid: 8, arguments: ["/usr/bin/python3", "-m", "dynamo.frontend"])
        let manifest = AdoptedManifest(try AdoptionTests.deployment([process, frontend]))
        for secret in ["sk-secret-1", "sk-secret-2", "hf_0123456789", "u:p"] {
            #expect(!manifest.text.contains(secret))
            #expect(!manifest.notes.joined().contains(secret))
        }
        var planned = ManifestCase(manifest.text)
        planned.environment.merge(manifest.secrets) { $1 }
        let plan = try planned.plan()
        let replica = try #require(plan.replicas.first { $0.role == .worker })
        var expected = words
        expected[expected.firstIndex(of: "dyn://dynamo.backend.generate") ?? 0] = "dyn://adopted.backend.generate"
        #expect(replica.arguments == ["-X", "dev", "-m", "dynamo.mocker"] + expected)
        #expect(plan.planes.request == .tcp, "the frontend's plane")
    }

    @Test func equalWorkersAreReplicasAndOthersAreNot() throws {
        func worker(_ pid: Int32, gpu: Int, _ arguments: [String] = []) -> RunningProcess {
            RunningProcess(
                pid: pid,
                arguments: ["/usr/bin/python3", "-m", "dynamo.vllm", "--model", "m"] + arguments,
                environment: [
                    "CUDA_VISIBLE_DEVICES": "\(gpu)", "DYN_SYSTEM_PORT": "\(8080 + gpu)", "DYN_NAMESPACE": "chat_1",
                ]
            )
        }
        let frontends = [8000, 8001].map { port in
            RunningProcess(
                pid: Int32(port),
                arguments: [
                    "/usr/bin/python3", "-m", "dynamo.frontend", "--http-port", "\(port)", "--namespace", "chat_1",
                ]
            )
        }
        let prefill = worker(13, gpu: 3, ["--disaggregation-mode", "prefill", "--kv-transfer-config", "{}"])
        let deployment = try AdoptionTests.deployment([worker(11, gpu: 0), worker(12, gpu: 1), prefill] + frontends)
        let manifest = AdoptedManifest(deployment)
        #expect(manifest.name == "chat-1")
        let planned = ManifestCase(manifest.text)
        let plan = try planned.plan()
        #expect(
            plan.replicas.map(\.name).filter { $0 != "nats" } == [
                "frontend-0", "frontend-1", "worker-0", "worker-1", "prefill",
            ]
        )
        #expect(plan.replicas.suffix(3).map(\.gpus) == [["0"], ["1"], ["3"]])
        #expect(plan.namespace == "chat_1")
        #expect(plan.publicAddress.port == 8000)
        #expect(manifest.text.contains("listeners: ['0.0.0.0:8001']"))
    }

    @Test func aWorkerWhoseSystemServerIsNotReadyIsNamed() throws {
        let all = try AdoptionTests.deployment(AdoptionTests.script(plane: "tcp")).processes.map { process in
            var process = process
            process.complaint = process.role == .worker ? "'503'" : nil
            return process
        }
        let notes = AdoptedManifest(FoundDeployment.group(all)[0]).notes
        #expect(
            notes.contains {
                $0.contains("vllm (pid 815) on port 8081 says '503'") && $0.contains("without DYN_HEALTH_CHECK_ENABLED")
            }
        )
    }

    @Test func ourOwnProgramsAreBuiltin() throws {
        let processes = [
            RunningProcess(
                pid: 1,
                arguments: ["/opt/bin/dynamo-frontend"],
                environment: ["DYN_DISCOVERY_BACKEND": "file"]
            ),
            RunningProcess(
                pid: 2,
                arguments: ["dynamo-worker", "--request-plane", "nats"],
                environment: ["DYN_DISCOVERY_BACKEND": "file", "DYN_REQUEST_PLANE": "tcp"]
            ),
        ]
        let deployment = try AdoptionTests.deployment(processes)
        let plan = try ManifestCase(AdoptedManifest(deployment).text).plan()
        #expect(
            plan.replicas.map(\.executable) == ["frontend", "worker"].map { "/opt/dynamo-launch/bin/dynamo-\($0)" }
        )
        #expect(deployment.differences.count == 1)
    }
}
