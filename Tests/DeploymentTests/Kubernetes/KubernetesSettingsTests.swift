import Testing

@testable import Deployment

/// What a manifest says of clusters.
@Suite struct KubernetesSettingsTests {
    private func manifest(_ kubernetes: String, worker: String = "", set: [String] = []) throws -> Manifest {
        var manifest = ManifestCase(
            """
            name: demo
            \(kubernetes)
            processes:
              frontend: {builtin: frontend}
              worker:
                builtin: worker
                \(worker)
            """
        )
        manifest.environment["REGISTRY"] = "registry.example.com:5000"
        manifest.overrides.set = set
        return try manifest.manifest()
    }

    @Test func `without the keys the defaults hold`() throws {
        let manifest = try self.manifest("")
        #expect(manifest.kubernetes == KubernetesSettings())
        #expect(manifest.processes.allSatisfy { $0.kubernetes == ProcessKubernetesSettings() })
    }

    @Test func `every key of the deployment arrives`() throws {
        let digest = "sha256:" + String(repeating: "0a", count: 32)
        let settings = try self.manifest(
            """
            kubernetes:
              namespace: chat
              createNamespace: true
              images:
                dynamo: ${REGISTRY}/team/vllm-runtime:1.2.1_a
                launcher: dynamo-launch@\(digest)
                nats: nats:2.11
                etcd: "[fd00::1]:5000/etcd:v3@\(digest)"
              imagePullSecrets: [registry, other.registry]
              secrets:
                HF_TOKEN: {secret: huggingface, key: .token}
                API_KEY: {secret: keys}
              service: LoadBalancer
              route: {gateway: public, gatewayNamespace: gateways, hostnames: [chat.example.com, "*.example.com"]}
              discovery: etcd
              nats: nats://nats.messaging:4222
              etcd: ["http://etcd.storage:2379", "https://etcd-1.storage:2379/"]
              storage: 1.5Ti
              storageClass: fast.ssd
              networkPolicy: true
              clients: [web, batch]
              createDefinition: false
              apiServer: {addresses: [10.0.0.1/32, "fd00::1/128"], ports: [443, 16443]}
            """
        ).kubernetes
        #expect(settings.namespace?.value == "chat")
        #expect(settings.createsNamespace)
        #expect(settings.images.dynamo?.value == "registry.example.com:5000/team/vllm-runtime:1.2.1_a")
        #expect(settings.images.launcher?.value == "dynamo-launch@\(digest)")
        #expect(settings.images.nats?.value == "nats:2.11")
        #expect(settings.images.etcd?.value == "[fd00::1]:5000/etcd:v3@\(digest)")
        #expect(settings.images.dynamo?.location.description == "test.yaml:6:13")
        #expect(settings.imagePullSecrets.map(\.value) == ["registry", "other.registry"])
        #expect(
            settings.secrets == [
                "HF_TOKEN": .init(secret: "huggingface", key: ".token"),
                "API_KEY": .init(secret: "keys", key: "API_KEY"),
            ]
        )
        #expect(settings.service == .loadBalancer)
        #expect(
            settings.route
                == .init(
                    gateway: "public",
                    gatewayNamespace: "gateways",
                    hostnames: ["chat.example.com", "*.example.com"]
                )
        )
        #expect(settings.discovery?.value == .etcd)
        #expect(settings.nats?.value == "nats://nats.messaging:4222")
        #expect(settings.etcd.map(\.value) == ["http://etcd.storage:2379", "https://etcd-1.storage:2379/"])
        #expect(settings.storage == "1.5Ti")
        #expect(settings.storageClass == "fast.ssd")
        #expect(settings.networkPolicy)
        #expect(settings.clients == ["web", "batch"])
        #expect(!settings.createsDefinition)
        #expect(settings.apiServer.addresses == ["10.0.0.1/32", "fd00::1/128"])
        #expect(settings.apiServer.ports == [443, 16443])
    }

    @Test func `every key of a process arrives`() throws {
        let manifest = try self.manifest(
            "",
            worker: """
                kubernetes:
                      image: localhost:5000/worker
                      requests: {cpu: 500m, memory: 1e9, hugepages-2Mi: 64Mi, example.com/nic: 1, ephemeral-storage: 0}
                      limits: {cpu: 2, memory: 2Gi, hugepages-2Mi: 64Mi, example.com/nic: 1}
                      gpuResource: amd.com/gpu
                      sharedMemory: 512Mi
                      nodeSelector: {pool: true, node.kubernetes.io/instance-type: large, empty: ""}
                      tolerations: [{key: nvidia.com/gpu}, {key: pool, value: "1", effect: NoExecute}]
                      volumes:
                        - {name: models, path: /models/, claim: models, readOnly: true}
                        - {name: keys, path: /keys, secret: keys}
                        - {name: files, path: /etc/engine, configMap: engine.files}
                        - {name: scratch, path: /scratch, empty: 1Gi}
                        - {name: cache, path: /cache, empty: true}
                      autoscaling: {max: 4}
                      writableRoot: false
                """,
            set: ["processes.worker.kubernetes.autoscaling.min=2", "processes.frontend.kubernetes.sharedMemory=1G"]
        )
        let worker = try #require(manifest.processes.last).kubernetes
        #expect(worker.image?.value == "localhost:5000/worker")
        #expect(
            worker.requests == [
                "cpu": "500m", "memory": "1e9", "hugepages-2Mi": "64Mi", "example.com/nic": "1",
                "ephemeral-storage": "0",
            ]
        )
        #expect(
            worker.limits == ["cpu": "2", "memory": "2Gi", "hugepages-2Mi": "64Mi", "example.com/nic": "1"]
        )
        #expect(worker.gpuResource == "amd.com/gpu")
        #expect(worker.sharedMemory == "512Mi")
        #expect(
            worker.nodeSelector == ["pool": "true", "node.kubernetes.io/instance-type": "large", "empty": ""]
        )
        #expect(
            worker.tolerations == [
                .init(key: "nvidia.com/gpu"), .init(key: "pool", value: "1", effect: "NoExecute"),
            ]
        )
        #expect(
            worker.volumes == [
                .init(name: "models", path: "/models", source: .claim("models"), isReadOnly: true),
                .init(name: "keys", path: "/keys", source: .secret("keys"), isReadOnly: true),
                .init(name: "files", path: "/etc/engine", source: .configMap("engine.files"), isReadOnly: true),
                .init(name: "scratch", path: "/scratch", source: .empty("1Gi")),
                .init(name: "cache", path: "/cache", source: .empty(nil)),
            ]
        )
        #expect(worker.autoscaling == .init(minimum: 2, maximum: 4, cpu: 80))
        #expect(worker.writableRoot == false)
        #expect(manifest.processes.first?.kubernetes.sharedMemory == "1G")
    }

    @Test func `on this machine they have no effect`() throws {
        func plan(_ kubernetes: String, _ worker: String) throws -> Plan {
            try ManifestCase(
                """
                name: demo
                processes: {frontend: {builtin: frontend}, worker: {builtin: worker\(worker)}}
                \(kubernetes)
                """
            ).plan()
        }
        let bare = try plan("", "")
        let said = try plan(
            "kubernetes: {namespace: chat, service: NodePort, storage: 1Gi, clients: [web]}",
            ", kubernetes: {requests: {cpu: 4}, autoscaling: {max: 3}, image: a}"
        )
        #expect(said.rendered() == bare.rendered())
        #expect(PlanChange(from: bare, to: said).isEmpty)
    }

    @Test(
        arguments: [
            ("1", 1), ("0", 0), ("0.5", 0.5), (".5", 0.5), ("5.", 5), ("500m", 0.5), ("8Gi", 8_589_934_592),
            ("1e3", 1000), ("1E-3", 0.001), ("12E", 12e18), ("100k", 100_000), ("1n", 1e-9),
        ] as [(String, Double)]
    )
    func `amounts are what a cluster takes them for`(_ text: String, _ amount: Double) throws {
        let value = try #require(KubernetesName.amount(text))
        #expect(abs(value - amount) <= amount * 1e-12)
    }

    @Test(
        arguments: [
            "", "-1", "+1", "1K", "1ki", "8GB", "1 Gi", "Gi", ".", "1..2", "1e", "1e999", "0x10", "1m1", "\u{661}",
            "1\n",
            String(repeating: "9", count: 200),
        ]
    )
    func `what is no amount is none`(_ text: String) { #expect(KubernetesName.amount(text) == nil) }

    @Test(
        arguments: [
            "", "a", "A", "a-", "-a", "a.b", "a_b", "a/b", "\u{e4}", "a\n", String(repeating: "a", count: 63),
            String(repeating: "a", count: 64),
        ]
    )
    func `names are judged as a cluster judges them`(_ text: String) {
        let long = String(repeating: "a", count: 63)
        #expect(KubernetesName.isLabel(text) == ["a", long].contains(text))
        #expect(KubernetesName.isSubdomain(text) == ["a", "a.b", long, long + "a"].contains(text))
        #expect(KubernetesName.isLabelValue(text) == ["a", "A", "a.b", "a_b", long].contains(text))
        #expect(KubernetesName.isQualified(text) == ["a", "A", "a.b", "a_b", "a/b", long].contains(text))
        #expect(KubernetesName.isDataKey(text) == (!["", "a/b", "\u{e4}", "a\n"].contains(text)))
    }

    @Test(
        arguments: [
            ("10.0.0.0/8", true), ("0.0.0.0/0", true), ("::/0", true), ("fd00::1/128", true),
            ("1:2:3:4:5:6:7:8/64", true), ("10.0.0.1", false), ("10.0.0.1/33", false), ("10.0.0/8", false),
            ("10.0.0.01/32", false), ("10.0.0.256/32", false), ("10.0.0.1/08", false), ("fd00::1/129", false),
            ("1:2:3:4:5:6:7/64", false), ("1::2::3/64", false), ("1:2:3:4:5:6:7:8::/64", false), ("g::/8", false),
            ("/8", false), ("host/32", false), ("", false),
        ] as [(String, Bool)]
    )
    func `blocks of addresses are judged as a cluster judges them`(_ text: String, _ isBlock: Bool) {
        #expect(KubernetesName.isBlock(text) == isBlock)
    }

    @Test(
        arguments: [
            ("{apiServer: {addresses: [kubernetes.default]}}", "test.yaml:2:38: ", "no block of addresses"),
            ("{apiServer: {ports: []}}", "test.yaml:2:33: ", "is empty"),
            ("{apiServer: {ports: [0]}}", "test.yaml:2:34: ", "out of range"),
            ("{apiServer: {port: 1}}", "test.yaml:2:26: ", "write 'ports'"),
            ("{networkPolicy: false, apiServer: {ports: [1]}}", "test.yaml:2:36: ", "'networkPolicy' is false"),
            ("{networkPolicy: false, clients: [web]}", "test.yaml:2:36: ", "'networkPolicy' is false"),
            ("{createDefinition: perhaps}", "test.yaml:2:32: ", "true or false"),
        ]
    )
    func `what policies cannot be is said with its place`(_ text: String, _ place: String, _ words: String) throws {
        let error = #expect(throws: ManifestErrors.self) { try self.manifest("kubernetes: \(text)") }
        #expect(error?.diagnostics.count == 1)
        #expect(error?.description.hasPrefix(place) == true, "\(error?.description ?? "")")
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }
}
