import OrderedCollections
import Testing

@testable import Deployment

/// What the pods of a process are made of.
@Suite struct PlainPodTests {
    @Test func `a pod runs the process's command with its own variables`() throws {
        let container = try PlainManifests.objects(PlainManifests.disaggregated).container("chat-decode")
        #expect(container["name"] == "main")
        #expect(container["image"] == "nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.6.1")
        #expect(container["command"] == ["python3"])
        #expect(
            container["args"] == [
                "-m", "dynamo.vllm", "--model", "Qwen/Qwen3-0.6B", "--disaggregation-mode", "decode",
            ]
        )
        #expect(container.variables["DYN_TCP_RPC_PORT"] == "9345")
        #expect(container.variables["DYN_SYSTEM_PORT"] == "9090")
        #expect(container["ports"].named("request")["containerPort"] == 9345)
    }

    @Test func `a dollar sign stays one, and a secret is only referred to`() throws {
        let objects = try PlainManifests.objects(PlainManifests.disaggregated)
        let variables = try objects.container("chat-decode").variables
        // Kubernetes makes one of two, and would replace `$(HOME)`.
        #expect(variables["GREETING"] == "$$(HOME) costs 5 $$")
        #expect(variables["HF_TOKEN"] == ["secretKeyRef": ["name": "chat-secrets", "key": "HF_TOKEN"]])
        let text = YAMLValue.documents(objects.map(\.yaml))
        #expect(!text.contains("hunter2"))
    }

    @Test func `volumes of the manifest are beside ours, or instead of them`() throws {
        func pod(_ volumes: [ProcessKubernetesSettings.Volume]) throws -> [YAMLPart] {
            let plan = try PlainManifests.plan(PlainManifests.embedded)
            var changed = plan
            PlainManifests.process("worker", of: &changed) {
                $0.settings.volumes = volumes
                $0.gpus = 1
            }
            let worker = try #require(changed.processes.first { $0.name == "worker" })
            let plain = try PlainObjects.objects(of: changed).pod("chat-worker")
            let own = PodVolumes(worker, hasSharedMemory: false)
            return [
                plain["volumes"], plain["containers"][0]["volumeMounts"], YAMLPart(value: .list(own.volumes)),
                YAMLPart(value: .list(own.mounts)),
            ]
        }
        let instead = try pod([
            .init(name: "a", path: "/tmp", source: .empty(nil)),
            .init(name: "b", path: "/dev/shm", source: .empty(nil)),
        ])
        for list in instead { #expect(list.items.map { $0["name"].value } == ["a", "b"]) }
        let beside = try pod([
            .init(name: "tmp", path: "/x", source: .empty(nil)),
            .init(name: "shared-memory", path: "/y", source: .empty(nil)),
        ])
        for list in beside { #expect(Set(list.items.map { $0["name"].value }).count == list.items.count) }
        #expect(beside[1].named("launch-tmp")["mountPath"] == "/tmp")
        #expect(beside[1].named("launch-shared-memory")["mountPath"] == "/dev/shm")
        #expect(beside[3].named("launch-tmp")["mountPath"] == "/tmp")
    }

    @Test(arguments: ["$", "$$", "a$(B)c", "100 %", "", "$(", "é$"])
    func `Kubernetes reads back what was meant`(_ text: String) {
        // What its expansion does: two dollars are one, and a reference begins with a single one.
        var read = ""
        var isEscaped = false
        for character in ContainerText.literal(text).unicodeScalars {
            if isEscaped {
                #expect(character == "$", "a single dollar would begin a reference")
                read.unicodeScalars.append(character)
                isEscaped = false
            } else if character == "$" {
                isEscaped = true
            } else {
                read.unicodeScalars.append(character)
            }
        }
        #expect(!isEscaped)
        #expect(read == text)
    }

    @Test func `GPUs come with shared memory, and a rollout does not wait for one that is taken`() throws {
        let objects = try PlainManifests.objects(PlainManifests.disaggregated)
        let container = try objects.container("chat-decode")
        #expect(container["resources"]["limits"]["nvidia.com/gpu"] == "1")
        #expect(container["volumeMounts"].named("shared-memory")["mountPath"] == "/dev/shm")
        let volume = try objects.pod("chat-decode")["volumes"].named("shared-memory")
        #expect(volume["emptyDir"] == ["medium": "Memory", "sizeLimit": "8Gi"])
        let worker = try objects.one("Deployment", "chat-decode")["spec"]["strategy"]["rollingUpdate"]
        #expect(worker == ["maxSurge": 0, "maxUnavailable": 1])
        let frontend = try objects.one("Deployment", "chat-frontend")["spec"]["strategy"]["rollingUpdate"]
        #expect(frontend == ["maxSurge": 1, "maxUnavailable": 0])
        #expect(try objects.container("chat-frontend")["resources"] == [])
    }

    @Test(arguments: [PlainManifests.disaggregated, PlainManifests.embedded])
    func `no container may do what it need not`(_ text: String) throws {
        let objects = try PlainManifests.objects(text)
        for object in objects where ["Deployment", "StatefulSet"].contains(object.kind) {
            let pod = YAMLPart(value: object.yaml)["spec"]["template"]["spec"]
            #expect(pod["securityContext"]["runAsNonRoot"] == true)
            #expect(pod["securityContext"]["runAsUser"] == 1000)
            #expect(pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault")
            #expect(pod["enableServiceLinks"] == false)
            for container in pod["containers"].items + pod["initContainers"].items {
                let context = container["securityContext"]
                #expect(context["allowPrivilegeEscalation"] == false)
                #expect(context["capabilities"] == ["drop": ["ALL"]])
                let writes = container["name"] == "main" && text == PlainManifests.disaggregated
                #expect(context["readOnlyRootFilesystem"] == .boolean(!writes), "\(object.name)")
            }
        }
    }

    @Test func `a root that may not be written to comes with a folder for what is temporary`() throws {
        let objects = try PlainManifests.objects(PlainManifests.embedded)
        #expect(try objects.pod("chat-worker")["volumes"] == [["name": "tmp", "emptyDir": [:]]])
        #expect(try objects.container("chat-worker")["volumeMounts"] == [["name": "tmp", "mountPath": "/tmp"]])
        let other = try PlainManifests.objects(PlainManifests.embedded) { plan in
            PlainManifests.process("worker", of: &plan) { $0.settings.writableRoot = true }
        }
        #expect(try other.pod("chat-worker")["volumes"] == [])
    }

    @Test func `settings of the process reach its pod`() throws {
        let objects = try PlainManifests.objects(PlainManifests.embedded) { plan in
            plan.settings.imagePullSecrets = [Located("registry", Location(file: "chat.yaml"))]
            PlainManifests.process("worker", of: &plan) { worker in
                worker.settings.requests = ["cpu": "500m", "memory": "1Gi"]
                worker.settings.limits = ["memory": "2Gi"]
                worker.settings.sharedMemory = "1Gi"
                worker.settings.nodeSelector = ["pool": "gpu"]
                worker.settings.tolerations = [
                    .init(key: "gpu", effect: "NoSchedule"), .init(key: "team", value: "a"),
                ]
                worker.settings.volumes = [
                    .init(name: "models", path: "/models", source: .claim("models"), isReadOnly: true),
                    .init(name: "key", path: "/key", source: .secret("tls")),
                    .init(name: "conf", path: "/conf", source: .configMap("conf")),
                    .init(name: "scratch", path: "/scratch", source: .empty("10Gi")),
                ]
            }
        }
        let pod = try objects.pod("chat-worker")
        #expect(pod["imagePullSecrets"] == [["name": "registry"]])
        #expect(pod["nodeSelector"] == ["pool": "gpu"])
        #expect(
            pod["tolerations"] == [
                ["key": "gpu", "operator": "Exists", "effect": "NoSchedule"],
                ["key": "team", "operator": "Equal", "value": "a"],
            ]
        )
        let volumes = pod["volumes"]
        #expect(volumes.named("models")["persistentVolumeClaim"] == ["claimName": "models", "readOnly": true])
        #expect(volumes.named("key")["secret"] == ["secretName": "tls"])
        #expect(volumes.named("conf")["configMap"] == ["name": "conf"])
        #expect(volumes.named("scratch")["emptyDir"] == ["sizeLimit": "10Gi"])
        #expect(volumes.named("shared-memory")["emptyDir"]["sizeLimit"] == "1Gi")
        let container = try objects.container("chat-worker")
        #expect(container["volumeMounts"].named("models")["readOnly"] == true)
        #expect(container["resources"]["requests"] == ["cpu": "500m", "memory": "1Gi"])
        #expect(container["resources"]["limits"] == ["memory": "2Gi"])
    }

    // MARK: The end

    @Test func `a pod leaves the Services before it is asked to end, and has its grace then`() throws {
        let objects = try PlainManifests.objects(PlainManifests.disaggregated)
        let frontend = try objects.container("chat-frontend")
        #expect(frontend["lifecycle"] == ["preStop": ["sleep": ["seconds": 5]]])
        #expect(try objects.pod("chat-frontend")["terminationGracePeriodSeconds"] == 25)
        #expect(frontend.variables["DYN_HTTP_GRACEFUL_SHUTDOWN_TIMEOUT_SECS"] == "18")
        #expect(try objects.pod("chat-prefill")["terminationGracePeriodSeconds"] == 35)
        #expect(try objects.container("chat-prefill").variables["DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT"] == "28")
        // With etcd a worker leaves discovery itself.
        let ours = try PlainManifests.objects(PlainManifests.embedded)
        #expect(try ours.container("chat-worker")["lifecycle"] == [])
        #expect(try ours.container("chat-frontend")["lifecycle"]["preStop"]["sleep"]["seconds"] == 5)
        #expect(try ours.container("chat-worker").variables["DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS"] == "8")
    }

    @Test func `the manifest's own times go before those that are derived`() throws {
        let text = PlainManifests.disaggregated.replacing(
            "VLLM_NIXL_SIDE_CHANNEL_PORT: 20097",
            with: "DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT: 60"
        )
        let variables = try PlainManifests.objects(text).container("chat-prefill").variables
        #expect(variables["DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT"] == "60")
    }

    // MARK: The beginning

    @Test func `Dynamo's processes wait for servers and for what they depend on`() throws {
        let objects = try PlainManifests.objects(PlainManifests.disaggregated)
        let wait = try objects.pod("chat-prefill")["initContainers"][0]
        #expect(wait["args"] == ["name:chat-decode:3"])
        #expect(wait["image"] == "nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.6.1")
        #expect(try objects.pod("chat-decode")["initContainers"] == [])
        var plan = try PlainManifests.plan(PlainManifests.disaggregated)
        plan.discovery = .etcd(
            .init(urls: ["http://a:2379", "http://[2001:db8::1]:2380"], isManaged: false, image: "")
        )
        plan.nats = .init(urls: ["nats://user:word@nats.example"], isManaged: false, image: "")
        let servers = try PlainObjects.objects(of: plan).pod("chat-decode")["initContainers"][0]["args"]
        #expect(servers == ["tcp:nats.example:4222", "tcp:a:2379,[2001:db8::1]:2380"])
        #expect(try PlainManifests.objects(PlainManifests.embedded).pod("chat-worker")["initContainers"] == [])
    }

    @Test func `nobody waits for a frontend, which waits for workers itself`() throws {
        let text = PlainManifests.disaggregated.replacing("dependsOn: [decode]", with: "dependsOn: [frontend]")
        #expect(try PlainManifests.objects(text).pod("chat-prefill")["initContainers"] == [])
    }
}
