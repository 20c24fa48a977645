/// The variables that the plan decides: set or removed for every process, never inherited by accident.
enum OwnedVariable: String, Sendable, Hashable, CaseIterable {
    case requestPlane = "DYN_REQUEST_PLANE"
    case responsePlane = "DYN_RESPONSE_PLANE"
    case eventPlane = "DYN_EVENT_PLANE"
    case durableEvents = "DYN_DURABLE_KV_EVENTS"
    case routerDurableEvents = "DYN_ROUTER_DURABLE_KV_EVENTS"
    case discoveryBackend = "DYN_DISCOVERY_BACKEND"
    case storeKV = "DYN_STORE_KV"
    case fileKV = "DYN_FILE_KV"
    case namespace = "DYN_NAMESPACE"
    case namespacePrefix = "DYN_NAMESPACE_PREFIX"
    case namespaceSuffix = "DYN_NAMESPACE_WORKER_SUFFIX"
    case natsServer = "NATS_SERVER"
    case etcdEndpoints = "ETCD_ENDPOINTS"
    case httpHost = "DYN_HTTP_HOST"
    case httpPort = "DYN_HTTP_PORT"
    case systemPort = "DYN_SYSTEM_PORT"
    case systemEnabled = "DYN_SYSTEM_ENABLED"
    // Ports that every process would want at once if they came from the shell; a manifest may give them.
    case tcpPort = "DYN_TCP_RPC_PORT"
    case tcpResponsePort = "DYN_TCP_RESPONSE_STREAM_PORT"
    case httpRPCPort = "DYN_HTTP_RPC_PORT"

    /// Whether a manifest may set it in `env`.
    var isFree: Bool {
        switch self {
        case .tcpPort, .tcpResponsePort, .httpRPCPort, .systemEnabled: true
        default: false
        }
    }

    /// The key of the manifest that decides it.
    var key: String {
        switch self {
        case .requestPlane: "planes.request"
        case .responsePlane: "planes.response"
        case .eventPlane, .durableEvents, .routerDurableEvents: "planes.events"
        case .discoveryBackend, .storeKV: "discovery"
        case .fileKV: "discovery.directory"
        case .namespace, .namespacePrefix, .namespaceSuffix: "namespace"
        case .natsServer: "infrastructure.nats"
        case .etcdEndpoints: "discovery.endpoints"
        case .httpHost: "http.host"
        case .httpPort: "ports.http"
        case .systemPort, .systemEnabled: "ports.system"
        case .tcpPort, .tcpResponsePort, .httpRPCPort: "env"
        }
    }

    /// Whether a value of the caller's shell that the deployment does not follow is worth a note.
    var isNoted: Bool {
        switch self {
        case .requestPlane, .responsePlane, .eventPlane, .discoveryBackend, .storeKV, .fileKV, .namespace,
            .namespacePrefix,
            .natsServer, .etcdEndpoints:
            true
        default: false
        }
    }
}

/// The flags of Dynamo's programs, and of ours, that say the same as an owned variable.
struct PlaneFlag: Sendable, Hashable {
    let flag: String
    let variable: OwnedVariable
    /// Only frontends have it.
    var isFrontendOnly = false

    static let all: [Self] = [
        Self(flag: "--request-plane", variable: .requestPlane),
        Self(flag: "--event-plane", variable: .eventPlane),
        Self(flag: "--response-plane", variable: .responsePlane),
        Self(flag: "--discovery-backend", variable: .discoveryBackend),
        Self(flag: "--namespace", variable: .namespace),
        Self(flag: "--namespace-prefix", variable: .namespacePrefix, isFrontendOnly: true),
        Self(flag: "--http-port", variable: .httpPort, isFrontendOnly: true),
        Self(flag: "--http-host", variable: .httpHost, isFrontendOnly: true),
    ]

    /// The value in a list of arguments, and the index of the argument that it stands in.
    func value(in arguments: [String]) -> (value: String, index: Int)? {
        var found: (String, Int)?
        for (index, argument) in arguments.enumerated() {
            if argument == self.flag, index + 1 < arguments.count {
                found = (arguments[index + 1], index + 1)
            } else if argument.hasPrefix("\(self.flag)=") {
                found = (String(argument.dropFirst(self.flag.count + 1)), index)
            }
        }
        return found
    }
}
