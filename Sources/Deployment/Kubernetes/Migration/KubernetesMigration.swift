internal import OrderedCollections

/// How a deployment in a cluster moves to its next generation: objects, and a script that applies them in the right order.
///
/// A frontend talks to one plane only, so both generations are complete, and clients are led from one to the other in front of the
/// frontends: by the selector of the Service that they know, or by the weights of an HTTPRoute.
package struct KubernetesMigration: Sendable {
    /// The form of the objects.
    package enum Flavor: Sendable, Hashable {
        /// Without an operator.
        case plain
        /// Of Dynamo's operator, which gives its pods labels of its own.
        case graph

        func selectors(of plan: ClusterPlan) -> PodSelectors {
            switch self {
            case .plain: .plain(plan)
            case .graph: .graph(plan)
            }
        }
    }

    /// A file of the migration.
    package struct File: Sendable, Hashable {
        /// Below the folder.
        package var name: String
        package var text: String
        package var isExecutable = false
    }

    let current: ClusterPlan
    let next: ClusterPlan
    let flavor: Flavor
    private let currentObjects: [KubernetesObject]
    private let nextObjects: [KubernetesObject]
    /// What users should know.
    package let notes: [String]

    /// - Parameters:
    ///   - current: what runs.
    ///   - currentObjects: all its objects.
    ///   - next: the generation to move to.
    ///   - nextObjects: all its objects.
    ///   - flavor: of both.
    /// - Throws: `ManifestErrors` when there is nothing to move, or a name gets too long.
    package init(
        from current: ClusterPlan,
        _ currentObjects: [KubernetesObject],
        to next: ClusterPlan,
        _ nextObjects: [KubernetesObject],
        flavor: Flavor
    ) throws(ManifestErrors) {
        self.current = current
        self.next = next
        self.flavor = flavor
        self.currentObjects = currentObjects
        self.nextObjects = nextObjects
        self.notes = Self.notes(current, next)
        try self.check()
    }

    private func check() throws(ManifestErrors) {
        let location = Location(file: self.next.local.manifestPath ?? "the embedded deployment")
        guard self.next.processes.contains(where: { $0.role == .frontend }) else {
            throw ManifestErrors([
                Diagnostic(
                    at: location,
                    "the deployment has no frontend, so there is nothing to lead clients to",
                    remedy: "give it a process with the role frontend"
                )
            ])
        }
        for plan in [self.current, self.next] where Self.ownService(of: plan).utf8.count > 63 {
            throw ManifestErrors([
                Diagnostic(
                    at: location,
                    "the name of the Service '\(Self.ownService(of: plan))' has more than 63 characters",
                    remedy: "give the deployment a shorter name"
                )
            ])
        }
    }

    private static func notes(_ current: ClusterPlan, _ next: ClusterPlan) -> [String] {
        var notes: [String] = []
        let settings = next.migration
        if settings.strategy != .blueGreen {
            notes.append(
                "migration.strategy \(settings.strategy.rawValue): in a cluster both generations are complete (blue-green), so there must be room for both"
            )
        }
        if next.settings.route == nil, settings.steps.count > 1, settings.steps != MigrationSettings().steps {
            notes.append(
                "migration.steps: a Service leads all clients to one generation; with kubernetes.route the requests move in steps"
            )
        }
        let (mine, usual) = (settings.thresholds, MigrationSettings.Thresholds())
        if mine.firstToken != usual.firstToken || mine.betweenTokens != usual.betweenTokens {
            notes.append("migration.thresholds: migrate.sh judges errors and restarts, and no times of tokens")
        }
        if !settings.canary.isEmpty {
            notes.append(
                "migration.canary: migrate.sh asks only the readiness request, and does not look at what is answered"
            )
        }
        if next.processes.contains(where: { $0.settings.autoscaling != nil }) {
            notes.append(
                "the next generation starts with the manifest's replicas, whatever the autoscaler has made of the current one"
            )
        }
        if !next.settings.clients.isEmpty {
            notes.append(
                "kubernetes.clients: migrate.sh asks through the API server, which the NetworkPolicy must admit to the frontends"
            )
        }
        return notes
    }

    // MARK: What there is

    /// The name of a Service for a generation's own frontends, whoever has the clients.
    static func ownService(of plan: ClusterPlan) -> String { "\(plan.name)-own" }

    var isRouted: Bool { self.next.settings.route != nil }

    /// The port of the frontends' pods; the operator's are where the operator says, whatever the manifest does.
    var frontendPort: Int {
        if self.graph(of: self.next) != nil { return OperatorComponent.frontendPort }
        return self.next.processes.first { $0.role == .frontend }?.ports.first { $0.purpose == .http }?.number
            ?? ClusterPorts.http
    }

    private static func key(_ object: KubernetesObject) -> [String] {
        [object.apiVersion, object.kind, object.namespace ?? "", object.name]
    }

    private func isForClients(_ object: KubernetesObject) -> Bool {
        (object.kind == "Service" || object.kind == "HTTPRoute") && object.name == self.current.deployment
    }

    private func ownService(_ plan: ClusterPlan) -> KubernetesObject {
        let frontends = self.flavor.selectors(of: plan).frontends
        return ClientsService.object(of: plan, frontends: frontends, name: Self.ownService(of: plan))
    }

    /// The clients' Service as it leads to a generation.
    private func clientsService(_ plan: ClusterPlan) -> KubernetesObject {
        ClientsService.object(of: plan, frontends: self.flavor.selectors(of: plan).frontends)
    }

    /// Everything of the next generation but what leads clients to it; servers and what else both share are among it.
    private var twin: [KubernetesObject] {
        var objects = self.nextObjects.filter { !self.isForClients($0) }
        objects.append(self.ownService(self.next))
        if self.isRouted { objects.append(self.ownService(self.current)) }
        return objects
    }

    /// What goes with the current generation: what the next one does not have.
    var objectsOfCurrent: [KubernetesObject] {
        let kept = Set(self.nextObjects.map(Self.key))
        var gone = self.currentObjects.filter {
            !kept.contains(Self.key($0)) && !self.isForClients($0) && !Self.isForAll($0)
        }
        // One that is there since an earlier migration, or for the route.
        gone.append(self.ownService(self.current))
        return gone
    }

    /// What goes with the next generation when it is taken back.
    var objectsOfNext: [KubernetesObject] {
        let kept = Set(self.currentObjects.map(Self.key))
        var gone = self.nextObjects.filter {
            !kept.contains(Self.key($0)) && !self.isForClients($0) && !Self.isForAll($0)
        }
        gone.append(self.ownService(self.next))
        return gone
    }

    /// How a generation stops taking requests before its workers go: its frontends' Deployments are deleted first.
    func frontends(of plan: ClusterPlan) -> [String] {
        let objects = plan.generation == self.current.generation ? self.currentObjects : self.nextObjects
        let names = Set(plan.processes.filter { $0.role == .frontend }.map { "\(plan.name)-\($0.name)" })
        return objects.filter { $0.kind == "Deployment" && names.contains($0.name) }.map(MigrationVariables.reference)
    }

    /// The same of a graph of Dynamo's operator, whose frontends are scaled to none: the graph, and JSON patches.
    ///
    /// No patches where an adapter scales a frontend: the operator's admission lets nobody else change its replicas, so the whole graph
    /// has to go at once.
    func graph(of plan: ClusterPlan) -> (reference: String, patch: String)? {
        let objects = plan.generation == self.current.generation ? self.currentObjects : self.nextObjects
        guard let graph = objects.first(where: { $0.kind == "DynamoGraphDeployment" }),
            case .keyed(let spec)? = graph.fields["spec"]
        else { return nil }
        var paths: [String] = []
        if case .list(let components)? = spec["components"] {
            for (index, component) in components.enumerated() {
                if case .keyed(let fields) = component, fields["type"] == .text("frontend") {
                    paths.append("/spec/components/\(index)/replicas")
                }
            }
        } else if case .keyed(let services)? = spec["services"] {
            for (name, service) in services {
                if case .keyed(let fields) = service, fields["componentType"] == .text("frontend") {
                    paths.append("/spec/services/\(name)/replicas")
                }
            }
        }
        if plan.processes.contains(where: { $0.role == .frontend && $0.settings.autoscaling != nil }) {
            return (MigrationVariables.reference(graph), "")
        }
        let operations = paths.map { #"{"op": "add", "path": \#(MigrationVariables.json($0)), "value": 0}"# }
        return (MigrationVariables.reference(graph), "[\(operations.joined(separator: ", "))]")
    }

    /// What no migration may delete: others may be in it, or need it.
    private static func isForAll(_ object: KubernetesObject) -> Bool {
        ["Namespace", "CustomResourceDefinition", "PersistentVolumeClaim", "Secret"].contains(object.kind)
    }

    /// Servers of the planes, which must be there before anything that needs them.
    var servers: [String] {
        self.nextObjects.filter { $0.kind == "StatefulSet" }.map(MigrationVariables.reference)
    }

    /// What else `kubectl rollout status` can wait for.
    var workloads: [String] {
        self.nextObjects.filter { $0.kind == "Deployment" }.map(MigrationVariables.reference)
    }

    /// How many pods the next generation has at least.
    var pods: Int {
        self.next.processes.filter {
            $0.role != .infrastructure || self.flavor == .plain
        }
        .map { $0.settings.autoscaling.map(\.minimum) ?? $0.replicas }
        .reduce(0, +)
    }

    /// Seconds that the next generation may take until it is ready.
    var startTimeout: Double {
        let own = self.next.processes.compactMap(\.timing.startupTimeout).max()
        return self.next.migration.startTimeout ?? max(600, (own ?? 0) + 60)
    }

    /// Seconds that a generation may take to end, with the notice that its pods give.
    var stopTimeout: Double {
        (self.current.processes + self.next.processes).map(\.stop.grace).max().map { $0 + 90 } ?? 120
    }

    // MARK: Files

    /// How `migrate.sh` begins, by which ours is known.
    package static let scriptMark = "#!/usr/bin/env bash\n\(ObjectFiles.mark)"

    /// What is to be written.
    package var files: [File] {
        let next = self.next.generation
        var files = ObjectFiles(self.twin, kustomize: false).files.map {
            File(name: "generation-\(next)/\($0.name)", text: $0.text)
        }
        let back = [self.clientsService(self.current)] + self.changed
        files.append(Self.yaml("switch.yaml", [self.clientsService(self.next)]))
        files.append(Self.yaml("rollback.yaml", back))
        if let route = self.next.settings.route {
            let weights = [(Self.ownService(of: self.current), 100), (Self.ownService(of: self.next), 0)]
            files.append(Self.yaml("route.yaml", ClientsRoute.objects(of: self.next, weights: weights)))
            files.append(Self.yaml("route-done.yaml", ClientsRoute.objects(of: self.next)))
            files += MigrationTools(self).flagger(route)
        }
        files += MigrationTools(self).argoRollouts(self.nextObjects)
        let script =
            Self.scriptMark + "\nset -euo pipefail\nshopt -s inherit_errexit\n"
            + "here=$(cd \"$(dirname \"${BASH_SOURCE[0]}\")\" && pwd)\n\n"
            + MigrationVariables(migration: self).text + "\n" + MigrationScript.text
        files.append(File(name: "migrate.sh", text: script, isExecutable: true))
        return files
    }

    static func yaml(_ name: String, _ objects: [KubernetesObject], comment: String = "") -> File {
        let lines = comment.split(separator: "\n").map { "# \($0)\n" }.joined()
        return File(name: name, text: "\(ObjectFiles.mark)\n\(lines)\(YAMLValue.documents(objects.map(\.yaml)))")
    }

    /// What both generations have, and the next one otherwise: as it was.
    private var changed: [KubernetesObject] {
        let new = Dictionary(self.nextObjects.map { (Self.key($0), $0) }) { first, _ in first }
        return self.currentObjects.filter { old in
            guard !self.isForClients(old), let other = new[Self.key(old)] else { return false }
            return other != old
        }
    }
}
