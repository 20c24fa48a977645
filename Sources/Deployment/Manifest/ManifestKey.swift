/// The keys of a manifest, by the mapping that they stand in.
///
/// The decoder, the JSON schema's test and the documentation's test use these lists.
enum ManifestKey {
    static let root = [
        "name", "model", "planes", "discovery", "namespace", "dynamo", "http", "device", "gpuSharing", "env", "unset",
        "inherit",
        "processes", "infrastructure", "preflight", "passthrough", "canary", "gateway", "migration", "survive",
        "kubernetes",
    ]
    static let planes = ["request", "events", "response"]
    static let discovery = ["backend", "directory", "endpoints"]
    static let dynamo = ["release", "python"]
    static let http = ["host", "port"]
    static let gateway = [
        "hold", "bodyLimit", "headerLimit", "connections", "timeouts", "tls", "listeners", "metrics", "idleExit",
    ]
    static let hold = ["requests", "bytes", "time"]
    static let gatewayTimeouts = ["header", "body", "idle", "write"]
    static let tls = ["certificate", "key"]
    static let listener = ["address", "unix", "mode", "tls"]
    static let infrastructure = ["nats", "etcd"]
    static let nats = ["managed", "url", "port", "args", "jetstream"]
    static let etcd = ["managed", "url", "port", "peerPort", "args"]
    static let preflight = ["command", "timeout"]
    static let canary = ["endpoint", "prompt", "timeout"]
    static let migration = [
        "strategy", "steps", "canary", "observe", "thresholds", "startTimeout", "drainTimeout", "rollbackWindow",
        "minimumWorkers",
    ]
    static let migrationCheck = ["prompt", "expect", "maxTokens", "timeout"]
    static let migrationThresholds = ["errorRate", "firstToken", "betweenTokens", "minimumRequests"]
    static let kubernetes = [
        "namespace", "createNamespace", "images", "imagePullSecrets", "secrets", "service", "route", "discovery",
        "createDefinition", "nats", "etcd", "storage", "storageClass", "networkPolicy", "clients", "apiServer",
    ]
    static let kubernetesImages = ["dynamo", "launcher", "nats", "etcd"]
    static let kubernetesSecret = ["secret", "key"]
    static let kubernetesRoute = ["gateway", "gatewayNamespace", "hostnames"]
    static let kubernetesAPIServer = ["addresses", "ports"]
    static let process = [
        "role", "command", "builtin", "module", "python", "args", "replicas", "env", "unset", "workingDirectory",
        "ports", "listen",
        "gpus", "kvEvents", "limits", "dependsOn", "probes", "timing", "restart", "stop", "kubernetes",
    ]
    static let processKubernetes = [
        "image", "requests", "limits", "gpuResource", "sharedMemory", "nodeSelector", "tolerations", "volumes",
        "autoscaling", "writableRoot", "publicArguments",
    ]
    static let kubernetesToleration = ["key", "value", "effect"]
    static let kubernetesVolume = ["name", "path", "claim", "secret", "configMap", "empty", "readOnly"]
    static let kubernetesAutoscaling = ["min", "max", "cpu"]
    static let limits = ["openFiles", "coreSize", "lockedMemory", "memory", "nice", "cpus"]
    static let kvEvents = ["engine", "replay", "topic", "blockSize", "ranks", "endpoint"]
    static let conditionalArguments = ["when", "equals", "args"]
    static let timing = ["startupInterval", "startupTimeout", "steadyInterval", "probeTimeout", "failureThreshold"]
    static let restart = ["policy", "initialDelay", "maxDelay", "jitter", "stableAfter", "maxRestarts"]
    static let stop = ["signal", "grace"]
    static let probe = ["http", "tcp", "exec", "log", "nats", "system", "requestPlane"]
    static let probeWords = ["none", "process", "model-listed", "model-ready", "generate", "notify"]
    static let httpProbe = ["url", "status", "contains"]
    static let tcpProbe = ["host", "port"]
}
