/// A key that a manifest uses.
package struct ManifestUse: Sendable, Hashable {
    /// The mapping that it stands in.
    var context: ManifestContext
    var key: String
    /// From the top of the manifest: `processes.worker.stop.signal`.
    var path: String
    var location: Location
    var value: ManifestNode

    /// Every key of a manifest whose value has no keys of its own, in the order of the file.
    static func all(in root: ManifestNode) -> [Self] { self.uses(in: root, .root, path: "") }

    private static func uses(in node: ManifestNode, _ context: ManifestContext, path: String) -> [Self] {
        guard case .mapping(let entries) = node.content else { return [] }
        return entries.flatMap { entry -> [Self] in
            let path = path.isEmpty ? entry.key : "\(path).\(entry.key)"
            let use = Self(
                context: context,
                key: entry.key,
                path: path,
                location: entry.keyLocation,
                value: entry.value
            )
            let inner = use.inner
            return inner.isEmpty ? [use] : inner
        }
    }

    /// The uses in its value.
    private var inner: [Self] {
        switch self.context.inside(self.key) {
        case .value: return []
        case .mapping(let context): return Self.uses(in: self.value, context, path: self.path)
        case .named(let context):
            guard case .mapping(let entries) = self.value.content else { return [] }
            return entries.flatMap { entry -> [Self] in
                var named = self
                named.path = "\(self.path).\(entry.key)"
                named.location = entry.keyLocation
                named.value = entry.value
                // One word instead of a mapping is judged as the key that has it.
                guard case .mapping = entry.value.content else { return [named] }
                return Self.uses(in: entry.value, context, path: named.path)
            }
        case .list(let context):
            guard case .sequence(let items) = self.value.content else { return [] }
            return items.enumerated().flatMap { index, item -> [Self] in
                var single = self
                single.path = "\(self.path).\(index)"
                single.location = item.location
                single.value = item
                guard case .mapping = item.content else { return [single] }
                return Self.uses(in: item, context, path: single.path)
            }
        }
    }
}

/// The mappings of a manifest that have known keys; each is called as its list in `ManifestKey` is.
enum ManifestContext: String, Sendable, Hashable, CaseIterable {
    case root, planes, discovery, dynamo, http, gateway, hold, gatewayTimeouts, tls, listener, infrastructure, nats,
        etcd, preflight, canary, migration, migrationCheck, migrationThresholds, kubernetes, kubernetesImages,
        kubernetesSecret,
        kubernetesRoute, kubernetesAPIServer, process, processKubernetes, kubernetesToleration, kubernetesVolume,
        kubernetesAutoscaling,
        kvEvents, limits, conditionalArguments, timing, restart, stop, probe, httpProbe, tcpProbe

    /// What a key's value has in it.
    enum Inside: Sendable, Hashable {
        /// Nothing that is judged by itself.
        case value
        case mapping(ManifestContext)
        /// A mapping with free keys, whose values are such mappings.
        case named(ManifestContext)
        case list(ManifestContext)
    }

    var keys: [String] {
        switch self {
        case .root: ManifestKey.root
        case .planes: ManifestKey.planes
        case .discovery: ManifestKey.discovery
        case .dynamo: ManifestKey.dynamo
        case .http: ManifestKey.http
        case .gateway: ManifestKey.gateway
        case .hold: ManifestKey.hold
        case .gatewayTimeouts: ManifestKey.gatewayTimeouts
        case .tls: ManifestKey.tls
        case .listener: ManifestKey.listener
        case .infrastructure: ManifestKey.infrastructure
        case .nats: ManifestKey.nats
        case .etcd: ManifestKey.etcd
        case .preflight: ManifestKey.preflight
        case .canary: ManifestKey.canary
        case .migration: ManifestKey.migration
        case .migrationCheck: ManifestKey.migrationCheck
        case .migrationThresholds: ManifestKey.migrationThresholds
        case .kubernetes: ManifestKey.kubernetes
        case .kubernetesImages: ManifestKey.kubernetesImages
        case .kubernetesSecret: ManifestKey.kubernetesSecret
        case .kubernetesRoute: ManifestKey.kubernetesRoute
        case .kubernetesAPIServer: ManifestKey.kubernetesAPIServer
        case .process: ManifestKey.process
        case .processKubernetes: ManifestKey.processKubernetes
        case .kubernetesToleration: ManifestKey.kubernetesToleration
        case .kubernetesVolume: ManifestKey.kubernetesVolume
        case .kubernetesAutoscaling: ManifestKey.kubernetesAutoscaling
        case .kvEvents: ManifestKey.kvEvents
        case .limits: ManifestKey.limits
        case .conditionalArguments: ManifestKey.conditionalArguments
        case .timing: ManifestKey.timing
        case .restart: ManifestKey.restart
        case .stop: ManifestKey.stop
        case .probe: ManifestKey.probe
        case .httpProbe: ManifestKey.httpProbe
        case .tcpProbe: ManifestKey.tcpProbe
        }
    }

    func inside(_ key: String) -> Inside {
        switch (self, key) {
        case (.root, "planes"): .mapping(.planes)
        case (.root, "discovery"): .mapping(.discovery)
        case (.root, "dynamo"): .mapping(.dynamo)
        case (.root, "http"): .mapping(.http)
        case (.root, "gateway"): .mapping(.gateway)
        case (.root, "infrastructure"): .mapping(.infrastructure)
        case (.root, "canary"): .mapping(.canary)
        case (.root, "preflight"): .named(.preflight)
        case (.root, "migration"): .mapping(.migration)
        case (.root, "kubernetes"): .mapping(.kubernetes)
        case (.root, "processes"): .named(.process)
        case (.gateway, "hold"): .mapping(.hold)
        case (.gateway, "timeouts"): .mapping(.gatewayTimeouts)
        case (.gateway, "tls"), (.listener, "tls"): .mapping(.tls)
        case (.gateway, "listeners"): .list(.listener)
        case (.infrastructure, "nats"): .mapping(.nats)
        case (.infrastructure, "etcd"): .mapping(.etcd)
        case (.migration, "canary"): .list(.migrationCheck)
        case (.migration, "thresholds"): .mapping(.migrationThresholds)
        case (.kubernetes, "images"): .mapping(.kubernetesImages)
        case (.kubernetes, "secrets"): .named(.kubernetesSecret)
        case (.kubernetes, "route"): .mapping(.kubernetesRoute)
        case (.kubernetes, "apiServer"): .mapping(.kubernetesAPIServer)
        case (.process, "kubernetes"): .mapping(.processKubernetes)
        case (.process, "kvEvents"): .mapping(.kvEvents)
        case (.process, "limits"): .mapping(.limits)
        case (.process, "timing"): .mapping(.timing)
        case (.process, "restart"): .mapping(.restart)
        case (.process, "stop"): .mapping(.stop)
        case (.process, "probes"): .named(.probe)
        case (.processKubernetes, "tolerations"): .list(.kubernetesToleration)
        case (.processKubernetes, "volumes"): .list(.kubernetesVolume)
        case (.processKubernetes, "autoscaling"): .mapping(.kubernetesAutoscaling)
        // What arguments are for, and a question's own words, are judged with them.
        default: .value
        }
    }
}
