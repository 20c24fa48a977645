import OrderedCollections
import Testing

@testable import Deployment

/// What the kubelet asks.
@Suite struct PlainProbesTests {
    @Test func `a worker has its whole start to load a model, and is then asked as the manifest says`() throws {
        let worker = try PlainManifests.objects(PlainManifests.disaggregated).container("chat-decode")
        let startup = worker["startupProbe"]
        // 20 minutes.
        #expect(startup["periodSeconds"] == 5)
        #expect(startup["failureThreshold"] == 240)
        #expect(worker["readinessProbe"]["periodSeconds"] == 5)
        #expect(worker["readinessProbe"]["failureThreshold"] == 3)
        #expect(worker["readinessProbe"]["timeoutSeconds"] == 10)
        // Whatever the status says: the endpoints decide.
        let health = ["python3", "-c", ProbeScript.systemHealth.rawValue, "http://127.0.0.1:9090/health"]
        #expect(startup["exec"]["command"] == .texts(health))
        #expect(worker["readinessProbe"]["exec"]["command"] == .texts(health))
        let live = ["python3", "-c", ProbeScript.http.rawValue, "http://127.0.0.1:9090/live", "200,503", ""]
        #expect(worker["livenessProbe"]["exec"]["command"] == .texts(live))
    }

    @Test func `a frontend has clients once it lists the model, and lives without workers`() throws {
        let frontend = try PlainManifests.objects(PlainManifests.disaggregated).container("chat-frontend")
        #expect(frontend["startupProbe"]["httpGet"] == ["path": "/health", "port": "http"])
        #expect(frontend["startupProbe"]["periodSeconds"] == 1)
        #expect(frontend["startupProbe"]["failureThreshold"] == 600)
        #expect(frontend["livenessProbe"]["httpGet"] == ["path": "/live", "port": "http"])
        #expect(frontend["livenessProbe"]["timeoutSeconds"] == 3)
        let ready = ["python3", "-c", ProbeScript.modelReady.rawValue, "http://127.0.0.1:8000", "Qwen/Qwen3-0.6B"]
        #expect(frontend["readinessProbe"]["exec"]["command"] == .texts(ready))
    }

    @Test func `our own images have no Python, and our frontend answers for a model`() throws {
        let objects = try PlainManifests.objects(
            PlainManifests.embedded.replacing("model: echo", with: "model: é/o").replacing("echo]", with: "x]")
        )
        let frontend = try objects.container("chat-frontend")
        #expect(frontend["readinessProbe"]["httpGet"]["path"] == "/v1/models/%C3%A9%2Fo/ready")
        let worker = try objects.container("chat-worker")
        #expect(worker["startupProbe"]["httpGet"] == ["path": "/health", "port": "system"])
        #expect(worker["readinessProbe"]["httpGet"] == ["path": "/health", "port": "system"])
        // An answer that says no is an answer.
        #expect(worker["livenessProbe"]["tcpSocket"] == ["port": "system"])
    }

    private func container(_ readiness: [LayerProbe], timing: ProbeTiming = ProbeTiming()) throws -> YAMLPart {
        try PlainManifests.objects(PlainManifests.embedded) { plan in
            PlainManifests.process("worker", of: &plan) { worker in
                worker.readiness = readiness
                worker.timing = timing
            }
        }.container("chat-worker")
    }

    @Test func `what Kubernetes cannot ask about leaves the layer below`() throws {
        let container = try self.container([
            LayerProbe(layer: .alive, probe: .process),
            LayerProbe(layer: .port, probe: .tcp(host: "127.0.0.1", port: 9090)),
            LayerProbe(layer: .live, probe: .logLine(pattern: "up")), LayerProbe(layer: .health, probe: .notify),
            LayerProbe(layer: .serving, probe: .requestPlane(component: "backend", endpoint: "generate")),
        ])
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            #expect(container[probe]["tcpSocket"] == ["port": "system"])
        }
        let nothing = try self.container([LayerProbe(layer: .alive, probe: .process)])
        #expect(nothing["startupProbe"] == [])
        #expect(nothing["readinessProbe"] == [])
        #expect(nothing["livenessProbe"] == [])
    }

    @Test func `another host is asked itself`() throws {
        let container = try self.container([
            LayerProbe(layer: .live, probe: .tcp(host: "other.example", port: 9090)),
            LayerProbe(
                layer: .health,
                probe: .http(url: "http://db.example:8080/health", statuses: [], bodyContains: nil)
            ),
        ])
        #expect(container["livenessProbe"]["tcpSocket"] == ["host": "other.example", "port": 9090])
        #expect(
            container["readinessProbe"]["httpGet"] == ["path": "/health", "host": "db.example", "port": 8080]
        )
        let dynamo = try PlainManifests.objects(PlainManifests.disaggregated) { plan in
            PlainManifests.process("decode", of: &plan) {
                $0.readiness = [
                    LayerProbe(layer: .health, probe: .http(url: "http://db:80/", statuses: [], bodyContains: nil))
                ]
            }
        }
        // From inside the pod, where names of the cluster are known.
        let script: [String] = ["python3", "-c", ProbeScript.http.rawValue, "http://db:80/", "", ""]
        #expect(try dynamo.container("chat-decode")["readinessProbe"]["exec"]["command"] == .texts(script))
    }

    @Test func `the manifest's own probes are asked`() throws {
        let container = try self.container(
            [
                LayerProbe(layer: .live, probe: .natsPing(url: "nats://127.0.0.1:4222")),
                LayerProbe(layer: .health, probe: .exec(argv: ["check", "--now"])),
                LayerProbe(
                    layer: .serving,
                    probe: .http(url: "https://127.0.0.1:1234/a?b", statuses: [], bodyContains: nil)
                ),
            ],
            timing: ProbeTiming(
                startupTimeout: nil,
                steadyInterval: 0.2,
                probeTimeout: 1.5,
                failureThreshold: 7
            )
        )
        #expect(container["livenessProbe"]["tcpSocket"] == ["port": 4222])
        #expect(container["startupProbe"]["exec"] == ["command": ["check", "--now"]])
        #expect(container["startupProbe"]["failureThreshold"] == .number(Int(Int32.max)))
        #expect(container["readinessProbe"]["httpGet"] == ["path": "/a?b", "port": 1234, "scheme": "HTTPS"])
        #expect(container["readinessProbe"]["periodSeconds"] == 1)
        #expect(container["readinessProbe"]["timeoutSeconds"] == 2)
        #expect(container["readinessProbe"]["failureThreshold"] == 7)
    }
}
