/// What each target may import: ours downwards only, others as agreed.
///
/// A line is added here on purpose, never by accident.
enum ImportTable {
    /// Modules of the toolchain that every target may use.
    static let toolchain: Set<String> = [
        "Swift", "Synchronization", "FoundationEssentials", "Glibc", "Musl", "Darwin", "Dispatch",
    ]

    static let ours: [String: Set<String>] = [
        "Systemd": ["CSystemd"],
        "RequestPlane": [],
        "NATS": ["CNATS"],
        "RequestPlaneTransports": ["RequestPlane", "NATS"],
        "Discovery": ["RequestPlane"],
        "DynamoRuntime": ["RequestPlaneTransports", "RequestPlane", "Discovery"],
        "Tokenization": ["Discovery"],
        "KVRouter": ["CXXHash"],
        "KVEvents": ["KVRouter", "NATS", "RequestPlane", "CZeroMQ"],
        "KVRouting": ["KVRouter", "KVEvents", "NATS", "Discovery", "RequestPlane"],
        "RouterCommandLine": ["KVRouter", "KVRouting", "DynamoRuntime", "RequestPlaneTransports"],
        "LoadTest": ["RequestPlane"],
        "Deployment": [],
        "Supervisor": ["Deployment", "CProcess"],
        "Gateway": [],
        "Rollout": ["Deployment", "Supervisor", "Gateway", "Discovery", "RequestPlane"],
        "dynamo-launch": [
            "Deployment", "Supervisor", "Systemd", "Discovery", "RequestPlane", "RequestPlaneTransports",
            "DynamoRuntime", "LoadTest", "KVEvents", "KVRouter", "KVRouting", "Gateway", "Rollout",
        ],
        "dynamo-frontend": [
            "Systemd", "DynamoRuntime", "RequestPlaneTransports", "RequestPlane", "Discovery", "Tokenization",
            "KVRouter",
            "KVEvents", "KVRouting", "RouterCommandLine",
        ],
        "dynamo-router": [
            "DynamoRuntime", "RequestPlaneTransports", "RequestPlane", "Discovery", "KVRouter", "KVEvents", "KVRouting",
            "RouterCommandLine",
        ],
        "dynamo-worker": [
            "DynamoRuntime", "RequestPlaneTransports", "RequestPlane", "Discovery", "KVRouter", "KVEvents", "KVRouting",
        ],
    ]

    static let others: [String: Set<String>] = [
        "Systemd": [],
        // Crypto derives the public key from an nkey's seed, which libnats cannot.
        "NATS": ["NIOCore", "Logging", "Crypto"],
        "RequestPlane": ["NIOCore", "Logging"],
        "RequestPlaneTransports": [
            "NIOCore", "NIOPosix", "NIOTLS", "NIOSSL", "NIOHTTP1", "NIOHTTP2", "NIOHPACK", "Logging", "DequeModule",
        ],
        "Discovery": ["NIOCore", "NIOPosix", "NIOHTTP1", "NIOSSL", "AsyncHTTPClient", "Logging"],
        "DynamoRuntime": ["NIOCore", "NIOPosix", "NIOHTTP1", "ServiceLifecycle", "UnixSignals", "Logging"],
        "Tokenization": ["HeapModule"],
        "KVRouter": ["DequeModule", "HeapModule", "OrderedCollections"],
        "KVEvents": ["NIOCore", "Logging", "DequeModule"],
        "KVRouting": ["NIOCore", "Logging"],
        "RouterCommandLine": ["ArgumentParser", "Logging"],
        "LoadTest": ["NIOCore", "NIOPosix", "NIOHTTP1"],
        "Deployment": ["Yams", "OrderedCollections"],
        "Supervisor": [
            "NIOCore", "NIOPosix", "NIOHTTP1", "HummingbirdCore", "HTTPTypes", "ServiceLifecycle", "Logging",
            "DequeModule",
            "HeapModule",
        ],
        // No NIOHTTP1: its parser folds lines and joins fields before anybody can refuse them.
        "Gateway": ["NIOCore", "NIOPosix", "NIOSSL", "Logging"],
        "Rollout": ["NIOCore", "NIOPosix", "Logging"],
        "dynamo-launch": ["ArgumentParser", "Subprocess", "SystemPackage", "UnixSignals", "Logging", "NIOCore"],
        "dynamo-frontend": [
            "ArgumentParser", "HummingbirdCore", "HTTPTypes", "NIOCore", "NIOPosix", "Logging", "ServiceLifecycle",
        ],
        "dynamo-router": ["ArgumentParser", "Logging", "ServiceLifecycle"],
        "dynamo-worker": ["ArgumentParser", "NIOCore", "Logging", "ServiceLifecycle"],
    ]
}
