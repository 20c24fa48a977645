import OrderedCollections
import Testing

@testable import Deployment

/// Which objects a generation is made of, and how they find each other.
@Suite struct PlainObjectsTests {
    @Test func `a generation of Dynamo's processes needs these objects`() throws {
        let objects = try PlainManifests.objects(PlainManifests.disaggregated)
        #expect(objects.names("CustomResourceDefinition") == ["dynamoworkermetadatas.nvidia.com"])
        #expect(objects.names("ServiceAccount") == ["chat"])
        #expect(objects.names("Role") == ["chat"])
        #expect(objects.names("RoleBinding") == ["chat"])
        #expect(objects.names("ConfigMap") == ["chat-planes"])
        #expect(objects.names("Service") == ["chat", "chat-frontend", "chat-decode", "chat-prefill"])
        #expect(objects.names("Deployment") == ["chat-frontend", "chat-decode", "chat-prefill"])
        #expect(objects.names("PodDisruptionBudget") == ["chat-frontend", "chat-decode"])
        #expect(
            objects.names("NetworkPolicy") == ["chat-closed", "chat-frontend", "chat-decode", "chat-prefill"]
        )
        #expect(objects.names("StatefulSet").isEmpty)
        #expect(objects.names("HorizontalPodAutoscaler").isEmpty)
        #expect(objects.names("Namespace").isEmpty)
        #expect(Set(objects.map { "\($0.kind) \($0.name)" }).count == objects.count)
    }

    @Test func `what is made first is what others need`() throws {
        let objects = try PlainManifests.objects(PlainManifests.embedded) { plan in
            plan.settings.createsNamespace = true
            plan.kubernetesNamespace = "serving"
        }
        let kinds = OrderedSet(objects.map(\.kind))
        #expect(kinds.first == "Namespace")
        // No pod is open for a moment, and each finds what it refers to.
        #expect(kinds.last == "Deployment")
        let set = try #require(objects.firstIndex { $0.kind == "StatefulSet" })
        #expect(objects[..<set].map(\.kind).contains("NetworkPolicy"))
        #expect(objects.filter { $0.kind != "Namespace" }.allSatisfy { $0.namespace == "serving" })
        #expect(objects[0].labels["pod-security.kubernetes.io/enforce"] == "restricted")
    }

    @Test func `our own processes get servers instead of rights`() throws {
        let objects = try PlainManifests.objects(PlainManifests.embedded)
        #expect(objects.names("StatefulSet") == ["chat-nats", "chat-etcd"])
        #expect(objects.names("ServiceAccount") == ["chat-infrastructure", "chat"])
        #expect(objects.names("Role").isEmpty)
        #expect(objects.names("CustomResourceDefinition").isEmpty)
        #expect(try objects.pod("chat-worker")["automountServiceAccountToken"] == false)
        #expect(try objects.container("chat-worker").variables["POD_NAME"] == nil)
        #expect(try objects.one("ServiceAccount", "chat")["automountServiceAccountToken"] == false)
    }

    @Test func `two generations share the servers and the clients' Service, and no name beside them`() throws {
        let first = try PlainManifests.plan(PlainManifests.embedded)
        let second = try PlainManifests.plan(PlainManifests.embedded, generation: 2)
        #expect(PlainObjects.shared(of: first) == PlainObjects.shared(of: second))
        #expect(PlainObjects.service(of: first).name == PlainObjects.service(of: second).name)
        let selectors = [first, second].map { YAMLPart(value: PlainObjects.service(of: $0).yaml)["spec"]["selector"] }
        #expect(selectors[0]["dynamo-launch/generation"] == "1")
        #expect(selectors[1]["dynamo-launch/generation"] == "2")
        #expect(selectors[0]["dynamo-launch/role"] == "frontend")
        let names = [first, second].map { plan in Set(PlainObjects.generation(of: plan).map(\.name)) }
        #expect(names[0].isDisjoint(with: names[1]))
        for name in names[1] { #expect(!names[0].contains { name.hasPrefix($0) || $0.hasPrefix(name) }) }
    }

    @Test func `the clients' Service leads to the frontends' port`() throws {
        let objects = try PlainManifests.objects(PlainManifests.embedded) { plan in
            plan.publicPort = 80
            plan.settings.service = .loadBalancer
        }
        let service = try objects.one("Service", "chat")["spec"]
        #expect(service["type"] == "LoadBalancer")
        #expect(service["ports"] == [["name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"]])
        #expect(try objects.container("chat-frontend")["ports"].named("http")["containerPort"] == 8000)
    }

    @Test func `a Deployment gets on for as long as the slowest start`() throws {
        func deadlines(_ change: (inout ClusterPlan) -> Void) throws -> [YAMLValue] {
            let objects = try PlainManifests.objects(PlainManifests.disaggregated, change)
            return objects.filter { $0.kind == "Deployment" }
                .map { YAMLPart(value: $0.yaml)["spec"]["progressDeadlineSeconds"].value }
        }
        // A frontend is available once a worker has its model: 20 minutes, and 10 more.
        #expect(try deadlines { _ in } == [1800, 1800, 1800])
        #expect(try deadlines { $0.migration.startTimeout = 7200 } == [7800, 7800, 7800])
        let never = YAMLValue.number(Int(Int32.max))
        let unlimited = try deadlines { plan in
            PlainManifests.process("decode", of: &plan) { $0.timing.startupTimeout = nil }
        }
        #expect(unlimited == [never, never, never])
    }

    @Test func `a route leads a gateway to the clients' Service`() throws {
        let plan = try PlainManifests.plan(
            PlainManifests.disaggregated.replacing(
                "processes:",
                with:
                    "kubernetes: {route: {gateway: edge, gatewayNamespace: gates, hostnames: [chat.example]}}\nprocesses:"
            ),
            generation: 2
        )
        let spec: YAMLValue = [
            "parentRefs": [["name": "edge", "namespace": "gates"]], "hostnames": ["chat.example"],
            "rules": [["backendRefs": [["name": "chat", "port": 8000, "weight": 1]]]],
        ]
        for objects in [PlainObjects.objects(of: plan), try OperatorObjects.objects(of: plan)] {
            #expect(objects.names("HTTPRoute") == ["chat"])
            #expect(try objects.one("HTTPRoute", "chat")["spec"].value == spec)
        }
        #expect(try PlainManifests.objects(PlainManifests.disaggregated).names("HTTPRoute").isEmpty)
    }

    @Test func `files are applied in the order of the objects`() throws {
        let objects = try PlainManifests.objects(PlainManifests.embedded) { plan in
            plan.settings.createsNamespace = true
            plan.kubernetesNamespace = "serving"
        }
        let files = ObjectFiles(objects, kustomize: true).files
        let names = files.dropLast().map(\.name)
        #expect(names.first == "00-namespaces.yaml")
        #expect(names.sorted() == names, "kubectl goes by names")
        #expect(names.last?.hasSuffix("-deployments.yaml") ?? false)
        #expect(files.last?.name == "kustomization.yaml")
        for name in names { #expect(files.last?.text.contains("- \"\(name)\"\n") ?? false) }
    }

    @Test func `discovery through the API server finds pods by labels of their Services`() throws {
        let objects = try PlainManifests.objects(PlainManifests.disaggregated)
        for name in ["chat-frontend", "chat-decode", "chat-prefill"] {
            let service = try objects.one("Service", name)
            #expect(service["metadata"]["labels"]["nvidia.com/dynamo-discovery-backend"] == "kubernetes")
            #expect(service["metadata"]["labels"]["nvidia.com/dynamo-discovery-enabled"] == "true")
            #expect(service["spec"]["clusterIP"] == "None")
            // An address that is not ready must not be found.
            #expect(service["spec"]["publishNotReadyAddresses"] == [])
            let template = try objects.one("Deployment", name)["spec"]["template"]["metadata"]["labels"]
            for key in service["spec"]["selector"].keys {
                #expect(template[key] == service["spec"]["selector"][key])
            }
        }
        let public_ = try objects.one("Service", "chat")
        #expect(public_["metadata"]["labels"]["nvidia.com/dynamo-discovery-enabled"] == [])
        let ours = try PlainManifests.objects(PlainManifests.embedded).one("Service", "chat-worker")
        #expect(ours["metadata"]["labels"]["nvidia.com/dynamo-discovery-enabled"] == [])
    }

    @Test func `a program of somebody else's is found through the API server where that is wanted`() throws {
        let objects = try PlainManifests.objects(
            """
            name: chat
            model: m
            kubernetes: {discovery: kubernetes}
            processes:
              frontend: {module: dynamo.frontend}
              worker: {command: [engine], role: worker, kubernetes: {image: engine}}
              cache: {command: [redis], role: infrastructure, ports: {cache: 6379}, kubernetes: {image: redis}}
            """
        )
        let worker = try objects.one("Service", "chat-worker")["metadata"]["labels"]
        #expect(worker["nvidia.com/dynamo-discovery-backend"] == "kubernetes")
        #expect(worker["nvidia.com/dynamo-discovery-enabled"] == "true")
        let cache = try objects.one("Service", "chat-cache")["metadata"]["labels"]
        #expect(cache["nvidia.com/dynamo-discovery-enabled"] == [])
    }

    @Test func `the definition is left out for those who may not create it`() throws {
        let kind = "CustomResourceDefinition"
        #expect(try PlainManifests.objects(PlainManifests.disaggregated).names(kind).count == 1)
        let without = try PlainManifests.objects(PlainManifests.disaggregated) { $0.settings.createsDefinition = false }
        #expect(without.names(kind).isEmpty && without.names("RoleBinding").count == 1)
    }

    @Test func `discovery has the rights that it uses, in its namespace`() throws {
        let objects = try PlainManifests.objects(PlainManifests.disaggregated)
        let rules = try objects.one("Role", "chat")["rules"].items
        let rights = Set(
            rules.flatMap { rule in
                rule["resources"].items.flatMap { resource in
                    rule["verbs"].items.map { "\($0.value) \(resource.value)" }
                }
            }
        )
        #expect(rights.count == 3 * 3 + 7)
        #expect(rules.map { $0["apiGroups"].value } == [[""], ["discovery.k8s.io"], ["nvidia.com"]])
        let binding = try objects.one("RoleBinding", "chat")
        #expect(binding["roleRef"]["name"] == "chat")
        #expect(binding["subjects"] == [["kind": "ServiceAccount", "name": "chat"]])
        let pod = try objects.pod("chat-decode")
        #expect(pod["serviceAccountName"] == "chat")
        #expect(pod["automountServiceAccountToken"] == true)
        let variables = try objects.container("chat-decode").variables
        #expect(variables["POD_NAME"] == ["fieldRef": ["fieldPath": "metadata.name"]])
        #expect(variables["POD_UID"] == ["fieldRef": ["fieldPath": "metadata.uid"]])
        #expect(variables["POD_NAMESPACE"] == ["fieldRef": ["fieldPath": "metadata.namespace"]])
    }

    @Test func `all processes get the planes from one place, whose change starts them again`() throws {
        let plan = try PlainManifests.plan(PlainManifests.disaggregated)
        let objects = PlainObjects.objects(of: plan)
        let data = try objects.one("ConfigMap", "chat-planes")["data"]
        #expect(data["DYN_REQUEST_PLANE"] == "tcp")
        #expect(data["DYN_EVENT_PLANE"] == "zmq")
        #expect(data["DYN_DISCOVERY_BACKEND"] == "kubernetes")
        #expect(data["NATS_SERVER"] == [])
        #expect(try objects.container("chat-decode")["envFrom"] == [["configMapRef": ["name": "chat-planes"]]])
        var other = plan
        other.shared[0].value = .text("other")
        #expect(PlainConfigMap.digest(plan) != PlainConfigMap.digest(other))
    }

    @Test func `an autoscaler sets the number of pods, and nobody else does`() throws {
        let objects = try PlainManifests.objects(PlainManifests.embedded) { plan in
            PlainManifests.process("frontend", of: &plan) {
                $0.settings.autoscaling = .init(minimum: 2, maximum: 9, cpu: 70)
            }
        }
        let scaler = try objects.one("HorizontalPodAutoscaler", "chat-frontend")["spec"]
        #expect(scaler["minReplicas"] == 2)
        #expect(scaler["maxReplicas"] == 9)
        #expect(scaler["metrics"][0]["resource"]["target"]["averageUtilization"] == 70)
        #expect(scaler["scaleTargetRef"]["name"] == "chat-frontend")
        #expect(try objects.one("Deployment", "chat-frontend")["spec"]["replicas"] == [])
        #expect(objects.names("PodDisruptionBudget") == ["chat-frontend"])
        #expect(try objects.pod("chat-frontend")["topologySpreadConstraints"].items.count == 2)
        #expect(try objects.pod("chat-worker")["topologySpreadConstraints"] == [])
    }
}
