internal import OrderedCollections

/// The same switch for those who have Argo Rollouts or Flagger in their cluster.
///
/// Both know workloads of one kind, and a generation is frontends *and* workers. So the next generation is applied and proved by
/// `migrate.sh` as ever, and the tools take over only what leads clients to it.
struct MigrationTools {
    private let migration: KubernetesMigration
    private var deployment: String { self.migration.current.deployment }

    init(_ migration: KubernetesMigration) { self.migration = migration }

    private func labels(_ plan: ClusterPlan) -> KeyedYAML { KubernetesLabels.deployment(plan) }

    private func object(_ apiVersion: String, _ kind: String, name: String, _ spec: YAMLValue) -> KubernetesObject {
        KubernetesObject(
            apiVersion,
            kind,
            name: name,
            namespace: self.migration.next.kubernetesNamespace,
            labels: self.labels(self.migration.next),
            ["spec": spec]
        )
    }

    // MARK: Flagger

    /// A Canary of a Service: Flagger moves the weights of an HTTPRoute from the pods that the Service selected to those that it selects
    /// now (Flagger, `pkg/canary/service_controller.go`).
    ///
    /// The Service is one of its own, because Flagger changes the weights only of what comes through the Gateway: a clients' Service would
    /// lead everybody else over at once. Without metrics, because Flagger's own are Istio's with this provider
    /// (`pkg/metrics/observers/factory.go`).
    func flagger(_ route: KubernetesSettings.Route) -> [KubernetesMigration.File] {
        let migration = self.migration
        var gateway: KeyedYAML = [
            "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": .text(route.gateway),
        ]
        gateway["namespace"] = route.gatewayNamespace.map(YAMLValue.text)
        var service: KeyedYAML = [
            "port": .number(migration.next.publicPort), "targetPort": "http", "portName": "http",
            "gatewayRefs": [.keyed(gateway)],
        ]
        if !route.hostnames.isEmpty { service["hosts"] = .texts(route.hostnames) }
        let settings = migration.next.migration
        let steps = settings.steps.dropLast()
        var analysis: KeyedYAML = [
            "interval": .text("\(max(10, Int(settings.observe.rounded(.up))))s"), "threshold": 2,
        ]
        if steps.isEmpty {
            analysis["stepWeights"] = [50]
        } else {
            analysis["stepWeights"] = .list(steps.map(YAMLValue.number))
        }
        let canary = self.object(
            "flagger.app/v1beta1",
            "Canary",
            name: "\(self.deployment)-flagger",
            [
                "provider": "gatewayapi:v1",
                "targetRef": ["apiVersion": "core/v1", "kind": "Service", "name": .text("\(self.deployment)-flagger")],
                "service": .keyed(service), "analysis": .keyed(analysis),
            ]
        )
        return [
            KubernetesMigration.yaml(
                "flagger/begin.yaml",
                [self.service(migration.current), canary],
                comment: """
                    Flagger, instead of 'migrate.sh switch' and 'observe'. Before: migrate.sh apply, wait, verify. Clients must come through the
                    HTTPRoute that Flagger makes; remove the deployment's own (\(self.deployment)) first. The analysis has no metrics: Flagger's own
                    (request-success-rate) are Istio's figures, and those of other Gateways are called otherwise. Without any, Flagger moves by time
                    alone. Write a MetricTemplate for your Gateway's figures, and name it under 'metrics' with 'templateRef' and a 'thresholdRange' (of failed requests at most \(Self.percent(settings.thresholds.errorRate)) percent).
                    """
            ),
            KubernetesMigration.yaml(
                "flagger/switch.yaml",
                [self.service(migration.next)],
                comment: """
                    Begins the move: Flagger sees that the Service selects generation \(migration.next.generation). When it has succeeded:
                    kubectl apply -f ../switch.yaml (the clients' Service of the deployment), then migrate.sh finish. When it has failed:
                    kubectl apply -f begin.yaml, then migrate.sh rollback.
                    """
            ),
        ]
    }

    /// As many digits as the script judges by.
    private static func percent(_ share: Double) -> String {
        let tenths = Int((share * 1000).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
    }

    private func service(_ plan: ClusterPlan) -> KubernetesObject {
        self.object(
            "v1",
            "Service",
            name: "\(self.deployment)-flagger",
            [
                "selector": .keyed(self.migration.flavor.selectors(of: plan).frontends),
                "ports": [
                    ["name": "http", "port": .number(plan.publicPort), "targetPort": "http", "protocol": "TCP"]
                ],
            ]
        )
    }

    // MARK: Argo Rollouts

    /// A Rollout that takes its pods from the frontend's Deployment, first of the current generation, then of the next one.
    ///
    /// Nothing where there is no Deployment to take them from, or more than one.
    func argoRollouts(_ objects: [KubernetesObject]) -> [KubernetesMigration.File] {
        let migration = self.migration
        let frontends = migration.next.processes.filter { $0.role == .frontend }
        guard let frontend = frontends.first, frontends.count == 1,
            objects.contains(where: { $0.kind == "Deployment" && $0.name == "\(migration.next.name)-\(frontend.name)" })
        else { return [] }
        let name = "\(self.deployment)-argo"
        let selector: YAMLValue = [
            KubernetesLabels.instance: .text(self.deployment), KubernetesLabels.role: "frontend",
        ]
        func service(_ name: String) -> KubernetesObject {
            self.object(
                "v1",
                "Service",
                name: name,
                [
                    "selector": selector,
                    "ports": [
                        [
                            "name": "http", "port": .number(migration.next.publicPort), "targetPort": "http",
                            "protocol": "TCP",
                        ]
                    ],
                ]
            )
        }
        var arguments: [YAMLValue] = [["name": "namespace"]]
        if [migration.next.model ?? "", migration.next.canary.prompt].contains(where: { $0.contains("{{") }) {
            arguments.append(["name": .text(Self.braces), "value": "{{"])
        }
        let analysis = self.object(
            "argoproj.io/v1alpha1",
            "AnalysisTemplate",
            name: name,
            [
                "args": .list(arguments),
                "metrics": [
                    [
                        "name": "answers", "count": 5, "interval": "2s", "failureLimit": 0,
                        "provider": ["web": .keyed(self.question("http://\(name)-preview.{{args.namespace}}"))],
                    ]
                ],
            ]
        )
        let namespace: YAMLValue = [
            ["name": "namespace", "valueFrom": ["fieldRef": ["fieldPath": "metadata.namespace"]]]
        ]
        func rollout(_ plan: ClusterPlan) -> KubernetesObject {
            self.object(
                "argoproj.io/v1alpha1",
                "Rollout",
                name: name,
                [
                    "replicas": .number(frontend.replicas), "selector": ["matchLabels": selector],
                    "workloadRef": [
                        "apiVersion": "apps/v1", "kind": "Deployment", "name": .text("\(plan.name)-\(frontend.name)"),
                        "scaleDown": "never",
                    ],
                    "strategy": [
                        "blueGreen": [
                            "activeService": .text(name), "previewService": .text("\(name)-preview"),
                            "autoPromotionEnabled": false,
                            // Argo's default; 'finish' waits longer for these pods than they are kept.
                            "scaleDownDelaySeconds": 30,
                            "prePromotionAnalysis": ["templates": [["templateName": .text(name)]], "args": namespace],
                        ]
                    ],
                ]
            )
        }
        return [
            KubernetesMigration.yaml(
                "argo-rollouts/begin.yaml",
                [service(name), service("\(name)-preview"), analysis, rollout(migration.current)],
                comment: """
                    Argo Rollouts, instead of 'migrate.sh switch'. Clients must use the Service '\(name)'. The Rollout runs frontends of its own
                    beside those of the Deployments; workers are no part of it. Before the switch: migrate.sh apply, wait, verify.
                    """
            ),
            KubernetesMigration.yaml(
                "argo-rollouts/switch.yaml",
                [rollout(migration.next)],
                comment: """
                    Begins the move: frontends of generation \(migration.next.generation) are started, and proved through the preview Service. Then:
                    kubectl argo rollouts promote \(name), or abort. Workers of generation \(migration.current.generation) are still needed while it may be undone.
                    After promote: kubectl apply -f ../switch.yaml, which leads the Service '\(self.deployment)' over too, and only then migrate.sh finish; it waits until
                    Argo has ended the old frontends (30 s). After abort: kubectl apply -f begin.yaml, then migrate.sh rollback.
                    """
            ),
        ]
    }

    private static let braces = "braces"

    /// A text that comes out of Argo's templates as it is.
    ///
    /// They put arguments in place of what is between two braces, in the whole metric, and fail for what is no argument; what they have
    /// put in is not looked at again (Argo Rollouts, `utils/template/template.go`). So the braces themselves are an argument.
    static func literal(_ text: String) -> String {
        text.replacing("{{", with: "{{args.\(self.braces)}}")
    }

    /// One token from the preview; without a model's name only the list of models.
    ///
    /// An answer that is none fails by itself: what is looked for in it is not there.
    private func question(_ address: String) -> KeyedYAML {
        let plan = self.migration.next
        guard let model = plan.model else {
            return [
                "url": .text("\(address):\(plan.publicPort)/v1/models"), "timeoutSeconds": 20,
                "jsonPath": "{$.data[0].id}",
            ]
        }
        let isChat = plan.canary.endpoint == .chat
        let prompt = YAMLValue.text(Self.literal(plan.canary.prompt))
        return [
            "url": .text("\(address):\(plan.publicPort)/v1/\(isChat ? "chat/" : "")completions"), "method": "POST",
            "timeoutSeconds": .number(max(1, Int(plan.canary.timeout.rounded(.up)))),
            "headers": [["key": "Content-Type", "value": "application/json"]],
            "jsonBody": [
                "model": .text(Self.literal(model)), "max_tokens": 1,
                isChat ? "messages" : "prompt": isChat ? [["role": "user", "content": prompt]] : prompt,
            ],
            "jsonPath": "{$.choices[0].index}",
        ]
    }
}
