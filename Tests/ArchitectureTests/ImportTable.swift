/// What each target may import: ours downwards only, others as agreed. A line is added here on purpose, never by accident.
enum ImportTable {
    /// Modules of the toolchain that every target may use.
    static let toolchain: Set<String> = [
        "Swift", "Synchronization", "FoundationEssentials", "Foundation", "Glibc", "Testing",
    ]

    static let ours: [String: Set<String>] = [
        "Systemd": ["CSystemd"],
        "RequestPlane": [],
        "RequestPlaneTransports": ["RequestPlane"],
        "Discovery": ["RequestPlane"],
        "DynamoRuntime": ["RequestPlaneTransports", "RequestPlane", "Discovery", "Systemd"],
        "Deployment": [],
        "Supervisor": ["Deployment", "Systemd", "CProcess", "RequestPlane"],
        "dynamo-launch": ["Deployment", "Supervisor", "Systemd", "Discovery", "RequestPlane", "DynamoRuntime"],
        "dynamo-frontend": ["DynamoRuntime", "RequestPlane", "Discovery"],
        "dynamo-worker": ["DynamoRuntime", "RequestPlane", "Discovery"],
    ]

    static let others: [String: Set<String>] = [
        "Systemd": [],
        "RequestPlane": ["NIOCore", "Logging"],
        "RequestPlaneTransports": ["NIOCore", "NIOPosix", "Logging", "DequeModule", "Collections"],
        "Discovery": ["NIOCore", "NIOPosix", "AsyncHTTPClient", "Logging"],
        "DynamoRuntime": ["NIOCore", "NIOPosix", "NIOHTTP1", "ServiceLifecycle", "UnixSignals", "Logging"],
        "Deployment": ["Yams", "OrderedCollections"],
        "Supervisor": [
            "NIOCore", "NIOPosix", "NIOHTTP1", "AsyncHTTPClient", "Hummingbird", "ServiceLifecycle", "Logging",
            "Collections",
            "DequeModule", "HeapModule", "HTTPTypes", "NIOFoundationEssentialsCompat",
        ],
        "dynamo-launch": [
            "ArgumentParser", "Subprocess", "SystemPackage", "UnixSignals", "Logging", "NIOCore", "NIOPosix",
            "AsyncHTTPClient",
        ],
        "dynamo-frontend": ["ArgumentParser", "Hummingbird", "HTTPTypes", "NIOCore", "Logging", "ServiceLifecycle"],
        "dynamo-worker": ["ArgumentParser", "NIOCore", "Logging", "ServiceLifecycle"],
    ]
}
