import Discovery
import Foundation
import Logging
import RequestPlane
import TestSupport
import Testing

/// Our processes and Dynamo 1.2.1's find each other through etcd.
@Suite("Discovery through etcd with real Dynamo", .serialized, .timeLimit(.minutes(2)))
struct EtcdInteropTests {
    private func environment(_ server: EtcdServer, systemPort: Int? = nil) -> [String: String?] {
        [
            "DYN_DISCOVERY_BACKEND": "etcd", "ETCD_ENDPOINTS": server.url, "DYN_REQUEST_PLANE": "tcp",
            "DYN_EVENT_PLANE": "zmq", "HF_HUB_OFFLINE": "1", "NATS_SERVER": nil, "DYN_NAMESPACE": nil,
            "DYN_TCP_RPC_HOST": "127.0.0.1", "DYN_HTTP_PORT": nil, "DYN_FILE_KV": nil,
            "DYN_SYSTEM_HOST": "127.0.0.1", "DYN_SYSTEM_PORT": systemPort.map(String.init),
        ]
    }

    private func worker(
        _ environment: [String: String?],
        _ body: (RunningProgram) async throws -> Void
    ) async throws {
        let path = TestEnvironment.products.appending(path: "dynamo-worker").path()
        _ = try await withProgram(path, ["--model-name", "echo"], environment: environment) { program in
            try await program.waitForOutput("endpoint serves")
            try await body(program)
        }
    }

    @Test("the launcher proves a deployment whose etcd asks who is there")
    func credentials() async throws {
        try await withTemporaryDirectory { directory in
            let server = try EtcdServer(directory: directory)
            let manifest = directory.appending(path: "etcd.yaml")
            try """
            name: etcd
            discovery: etcd
            infrastructure: {etcd: "\(server.url)"}
            env: {ETCD_AUTH_USERNAME: root, ETCD_AUTH_PASSWORD: secret}
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker}
            """.write(to: manifest, atomically: true, encoding: .utf8)
            try await server.run {
                for (path, body) in [
                    ("user/add", #"{"name":"root","password":"secret"}"#), ("role/add", #"{"name":"root"}"#),
                    ("user/grant", #"{"user":"root","role":"root"}"#), ("enable", "{}"),
                ] { try await server.call("/v3/auth/\(path)", body) }
                let (_, exit) = try await Launcher.up([manifest.path()]) { deployment in
                    try await deployment.waitUntilReady()
                }
                #expect(exit == .code(0))
            }
        }
    }

    @Test("a real frontend lists our worker, and again after its lease was lost")
    func realFrontend() async throws {
        let python = try TestEnvironment.python(.v121)
        try await withTemporaryDirectory { directory in
            let server = try EtcdServer(directory: directory)
            let port = try freePort()
            let models = "http://127.0.0.1:\(port)/v1/models"
            let chat = "http://127.0.0.1:\(port)/v1/chat/completions"
            let question = #"{"model":"echo","messages":[{"role":"user","content":"one two"}]}"#
            func isListed() async -> Bool {
                (try? await HTTPRequests.get(models, limit: 2))?.text.contains(#""echo""#) ?? false
            }
            try await server.run {
                let arguments = ["-m", "dynamo.frontend", "--http-port", "\(port)"]
                _ = try await withProgram(python, arguments, environment: self.environment(server)) { frontend in
                    try await self.worker(self.environment(server)) { worker in
                        try await eventually(within: .seconds(60), "listed:\n\(frontend.output)") { await isListed() }
                        #expect(try await HTTPRequests.post(chat, json: question).text.contains("one two"))

                        let discovery = EtcdDiscovery(endpoints: [server.url], logger: Logger(label: "test"))
                        let id = try #require(try await discovery.snapshot(.all).instances.first?.instance.id)
                        try await server.call("/v3/lease/revoke", #"{"ID":"\#(id.rawValue)"}"#)
                        try await eventually("the frontend has noticed") { await !isListed() }
                        try await worker.waitForOutput("the lease in etcd was lost")
                        try await eventually("listed again:\n\(frontend.output)") { await isListed() }
                        let snapshot = try await discovery.snapshot(.all)
                        #expect(snapshot.instances.map(\.instance.id) == [id])
                        #expect(try await HTTPRequests.post(chat, json: question).text.contains("one two"))
                    }
                    try await eventually("gone with its worker") { await !isListed() }
                }
            }
        }
    }

    @Test("our watch sees a real worker come and go; both workers' metrics have the same form")
    func realWorker() async throws {
        let python = try TestEnvironment.python(.v121)
        let mocker = ["-m", "dynamo.mocker", "--model-path", try TestEnvironment.model()]
        try await withTemporaryDirectory { directory in
            let server = try EtcdServer(directory: directory)
            // A real worker takes it for a 16-bit number with a sign.
            let realPort = try #require((20_000...32_000).shuffled().first { !SystemProcesses.isListening(port: $0) })
            let ourPort = try freePort()
            try await server.run {
                let discovery = EtcdDiscovery(endpoints: [server.url], logger: Logger(label: "test"))
                let seen = Recorded(DiscoverySnapshot())
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await discovery.run() }
                    let changes = discovery.watch(.all)
                    group.addTask { for await snapshot in changes { seen.value = snapshot } }
                    let environment = self.environment(server, systemPort: realPort)
                    _ = try await withProgram(python, mocker, environment: environment) { _ in
                        // Its records are written one after the other.
                        func instance() -> Instance? {
                            seen.value.instances.map(\.instance).first { $0.endpoint.name == "generate" }
                        }
                        try await eventually(within: .seconds(60), "the worker is seen") {
                            seen.value.models.count == 1 && instance() != nil
                        }
                        let instance = try #require(instance())
                        #expect(seen.value.models.first?.id == instance.id)
                        try await self.worker(self.environment(server, systemPort: ourPort)) { _ in
                            let theirs = try await HTTPRequests.get("http://127.0.0.1:\(realPort)/metrics").text
                            let ours = try await HTTPRequests.get("http://127.0.0.1:\(ourPort)/metrics").text
                            #expect(Self.form(ours) == Self.form(theirs))
                            #expect(ours.contains(#"transport="tcp",worker_id="#))
                        }
                    }
                    try await eventually("everything is gone") { seen.value == DiscoverySnapshot() }
                    group.cancelAll()
                    while let result = await group.nextResult() { _ = result }
                }
            }
        }
    }

    /// The families of the work handler with help, type, labels and buckets in their order; values and ids are left out.
    private static func form(_ metrics: String) -> [String] {
        metrics.split(separator: "\n").map(String.init).filter { line in
            line.contains("dynamo_component_") && !line.contains("worker_kv_indexer_query")
                && !line.contains("kv_publisher") && !line.contains("endpoint_transport_info")
        }.map { line in
            let sample = line.hasPrefix("#") ? line : line.split(separator: " ").dropLast().joined(separator: " ")
            return sample.replacing(/worker_id="[0-9a-f]+"/, with: "worker_id")
        }
    }
}
