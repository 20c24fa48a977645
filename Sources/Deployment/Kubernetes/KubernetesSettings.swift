/// What a manifest says about itself in a cluster: the key `kubernetes`.
package struct KubernetesSettings: Sendable, Hashable {
    /// How the processes find each other in the cluster.
    package enum Discovery: String, Sendable, Hashable, CaseIterable {
        /// Through the API server; processes of Dynamo can, ours cannot.
        case kubernetes
        case etcd
    }

    /// The images of containers; what is nil has a default.
    package struct Images: Sendable, Hashable {
        /// Of Dynamo's processes; nil: the image of the engine, tagged with the release.
        package var dynamo: Located<String>?
        /// Of our processes and of the launcher.
        package var launcher: Located<String>?
        package var nats: Located<String>?
        package var etcd: Located<String>?

        package init() {}
    }

    /// The key of a Secret that a variable's value comes from.
    package struct SecretKey: Sendable, Hashable {
        package var secret: String
        package var key: String
        /// Whether pods start without it too.
        package var isOptional: Bool

        package init(secret: String, key: String, isOptional: Bool = false) {
            self.secret = secret
            self.key = key
            self.isOptional = isOptional
        }
    }

    /// How the public port is reached.
    package enum ServiceKind: String, Sendable, Hashable, CaseIterable {
        case clusterIP = "ClusterIP"
        case nodePort = "NodePort"
        case loadBalancer = "LoadBalancer"
    }

    /// A Gateway of the Gateway API that is to lead to the deployment.
    package struct Route: Sendable, Hashable {
        package var gateway: String
        /// The namespace of the Gateway; nil: that of the deployment.
        package var gatewayNamespace: String?
        /// Names that clients use; empty: all.
        package var hostnames: [String]

        package init(gateway: String, gatewayNamespace: String? = nil, hostnames: [String] = []) {
            self.gateway = gateway
            self.gatewayNamespace = gatewayNamespace
            self.hostnames = hostnames
        }
    }

    /// Where pods find the API server, for policies.
    package struct APIServer: Sendable, Hashable {
        /// Blocks of addresses, `10.0.0.0/16`; empty: anywhere.
        package var addresses: [String] = []
        /// Some networks look at the port of its Service, others at that of the server behind it.
        package var ports = [443, 6443]

        package init() {}
    }

    /// Of the objects; nil: that which `kubectl` is set to.
    package var namespace: Located<String>?
    /// Whether the Namespace itself is among the objects.
    package var createsNamespace = false
    package var images = Images()
    package var imagePullSecrets: [Located<String>] = []
    /// Where the values of secret variables come from, by variable; the others come from the Secret `NAME-secrets`, under their own names.
    package var secrets: [String: SecretKey] = [:]
    /// Variables that are no secrets, whatever they are called or have in them.
    package var publicVariables: Set<String> = []
    package var service = ServiceKind.clusterIP
    package var route: Route?
    /// nil: through the API server where all processes can, else etcd.
    package var discovery: Located<Discovery>?
    /// Whether the CustomResourceDefinition that discovery through the API server needs is among the objects: it belongs to the whole cluster.
    package var createsDefinition = true
    /// A NATS server of the cluster; nil: one of the deployment's own where the manifest has it managed.
    package var nats: Located<String>?
    /// An etcd of the cluster; empty: one of the deployment's own.
    package var etcd: [Located<String>] = []
    /// The size of the volume of a NATS server with JetStream, and of etcd.
    package var storage = "8Gi"
    /// nil: the cluster's default.
    package var storageClass: String?
    /// Whether NetworkPolicies are among the objects.
    package var networkPolicy = true
    /// Who may ask the public port and read metrics, as the value of the label `kubernetes.io/metadata.name` of namespaces; empty: everybody.
    package var clients: [String] = []
    package var apiServer = APIServer()

    package init() {}
}

/// What a process says about itself in a cluster: its key `kubernetes`.
package struct ProcessKubernetesSettings: Sendable, Hashable {
    /// A volume and where it is seen.
    package struct Volume: Sendable, Hashable {
        package enum Source: Sendable, Hashable {
            case claim(String)
            case secret(String)
            case configMap(String)
            /// Empty at each start; the largest size.
            case empty(String?)
        }

        package var name: String
        package var path: String
        package var source: Source
        package var isReadOnly: Bool

        package init(name: String, path: String, source: Source, isReadOnly: Bool = false) {
            self.name = name
            self.path = path
            self.source = source
            self.isReadOnly = isReadOnly
        }
    }

    /// A HorizontalPodAutoscaler.
    package struct Autoscaling: Sendable, Hashable {
        package var minimum: Int
        package var maximum: Int
        /// Average use of processors, in percent of what is requested.
        package var cpu: Int

        package init(minimum: Int, maximum: Int, cpu: Int = 80) {
            self.minimum = minimum
            self.maximum = maximum
            self.cpu = cpu
        }
    }

    /// Who tolerates what of nodes.
    package struct Toleration: Sendable, Hashable {
        package var key: String
        /// nil: whatever the value.
        package var value: String?
        /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; nil: all.
        package var effect: String?

        package init(key: String, value: String? = nil, effect: String? = nil) {
            self.key = key
            self.value = value
            self.effect = effect
        }
    }

    package var image: Located<String>?
    /// Quantities by resource, `cpu: 500m`.
    package var requests: [String: String] = [:]
    package var limits: [String: String] = [:]
    /// The resource that a GPU is; nil: `nvidia.com/gpu`, or `gpu.intel.com/xe` for the device `xpu`.
    package var gpuResource: String?
    /// Of `/dev/shm`; nil: `8Gi` for processes with GPUs, else the container runtime's.
    package var sharedMemory: String?
    package var nodeSelector: [String: String] = [:]
    package var tolerations: [Toleration] = []
    package var volumes: [Volume] = []
    package var autoscaling: Autoscaling?
    /// Whether the container may write to its own file system; nil: only ours may not.
    package var writableRoot: Bool?
    /// Whether everybody may read its arguments and probes, whatever they look like.
    package var publicArguments = false

    package init() {}
}
