// swift-tools-version: 6.2
import PackageDescription

// MARK: - Dependencies

let nio = "swift-nio"
let core: Target.Dependency = .product(name: "NIOCore", package: nio)
let posix: Target.Dependency = .product(name: "NIOPosix", package: nio)
let http1: Target.Dependency = .product(name: "NIOHTTP1", package: nio)
let tls: Target.Dependency = .product(name: "NIOTLS", package: nio)
let ssl: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let http2: Target.Dependency = .product(name: "NIOHTTP2", package: "swift-nio-http2")
let hpack: Target.Dependency = .product(name: "NIOHPACK", package: "swift-nio-http2")
let embedded: Target.Dependency = .product(name: "NIOEmbedded", package: nio)
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let hummingbirdCore: Target.Dependency = .product(name: "HummingbirdCore", package: "hummingbird")
let httpTypes: Target.Dependency = .product(name: "HTTPTypes", package: "swift-http-types")
let asyncHTTPClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let subprocess: Target.Dependency = .product(name: "Subprocess", package: "swift-subprocess")
let systemPackage: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let collections: Target.Dependency = .product(name: "Collections", package: "swift-collections")

let package = Package(
    name: "dynamo-launch",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "dynamo-launch", targets: ["dynamo-launch"]),
        .executable(name: "dynamo-frontend", targets: ["dynamo-frontend"]),
        .executable(name: "dynamo-router", targets: ["dynamo-router"]),
        .executable(name: "dynamo-worker", targets: ["dynamo-worker"]),
        .library(name: "RequestPlane", targets: ["RequestPlane", "RequestPlaneTransports"]),
        .library(name: "DynamoRuntime", targets: ["DynamoRuntime", "Discovery"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-nio-http2.git", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-collections.git", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
        .package(url: "https://github.com/swift-server/async-http-client.git", from: "1.37.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.0", traits: []),
        .package(url: "https://github.com/apple/swift-http-types.git", from: "1.8.0"),
        .package(url: "https://github.com/jpsim/Yams.git", from: "6.2.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess.git", from: "1.0.2", traits: []),
        .package(url: "https://github.com/apple/swift-system.git", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.0.0"),
    ],
    targets: [
        // MARK: C, behind one door each
        .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
        .systemLibrary(name: "CNATS", pkgConfig: "libnats", providers: [.apt(["libnats-dev"])]),
        // No pkg-config: Debian's file for libzmq names flags that the package manager refuses, and the defaults suffice.
        .systemLibrary(name: "CZeroMQ", providers: [.apt(["libzmq3-dev"])]),
        .systemLibrary(name: "CXXHash", pkgConfig: "libxxhash", providers: [.apt(["libxxhash-dev"])]),
        .target(name: "CProcess"),

        // MARK: Serving half
        .target(name: "NATS", dependencies: ["CNATS", core, logging, crypto]),
        .target(name: "RequestPlane", dependencies: [core, logging]),
        .target(
            name: "RequestPlaneTransports",
            dependencies: ["RequestPlane", "NATS", core, posix, tls, ssl, http1, http2, hpack, logging, collections]
        ),
        .target(
            name: "Discovery",
            dependencies: ["RequestPlane", core, posix, http1, ssl, asyncHTTPClient, logging]
        ),
        .target(
            name: "DynamoRuntime",
            dependencies: [
                "RequestPlane", "RequestPlaneTransports", "Discovery", core, posix, http1, lifecycle, unixSignals,
                logging,
            ]
        ),

        .target(name: "Tokenization", dependencies: ["Discovery", collections]),
        .target(name: "KVRouter", dependencies: ["CXXHash", collections]),
        .target(
            name: "KVEvents",
            dependencies: ["KVRouter", "NATS", "RequestPlane", "CZeroMQ", core, logging, collections]
        ),
        .target(
            name: "KVRouting",
            dependencies: ["KVRouter", "KVEvents", "NATS", "Discovery", "RequestPlane", core, logging]
        ),
        .target(
            name: "RouterCommandLine",
            dependencies: [
                "KVRouter", "KVRouting", "DynamoRuntime", "RequestPlaneTransports", argumentParser, logging,
            ]
        ),
        .target(name: "LoadTest", dependencies: ["RequestPlane", core, posix, http1]),

        // MARK: Operating half
        .target(name: "Systemd", dependencies: ["CSystemd"]),
        .target(name: "Deployment", dependencies: ["Yams", collections]),
        .target(
            name: "Supervisor",
            dependencies: [
                "Deployment", "Systemd", "CProcess", core, posix, http1, hummingbirdCore, httpTypes, logging, lifecycle,
                collections,
            ]
        ),

        .target(name: "Gateway", dependencies: [core, posix, ssl, logging]),
        .target(
            name: "Rollout",
            dependencies: ["Deployment", "Supervisor", "Gateway", "Discovery", "RequestPlane", core, posix, logging]
        ),

        // MARK: Programs
        .executableTarget(
            name: "dynamo-launch",
            dependencies: [
                "Deployment", "Supervisor", "Systemd", "Discovery", "RequestPlane", "RequestPlaneTransports",
                "DynamoRuntime", "LoadTest", "KVEvents", "KVRouter", "KVRouting", "Gateway", "Rollout",
                argumentParser, subprocess, systemPackage, unixSignals, logging, core,
            ]
        ),
        .executableTarget(
            name: "dynamo-frontend",
            dependencies: [
                "Systemd", "DynamoRuntime", "RequestPlane", "Discovery", "Tokenization", "KVRouter", "KVEvents",
                "KVRouting",
                "RouterCommandLine", "RequestPlaneTransports", argumentParser, hummingbirdCore, httpTypes, core,
                logging, lifecycle,
            ]
        ),
        .executableTarget(
            name: "dynamo-router",
            dependencies: [
                "DynamoRuntime", "RequestPlane", "RequestPlaneTransports", "Discovery", "KVRouter", "KVEvents",
                "KVRouting", "RouterCommandLine", argumentParser, logging, lifecycle,
            ]
        ),
        .executableTarget(
            name: "dynamo-worker",
            dependencies: [
                "DynamoRuntime", "RequestPlane", "RequestPlaneTransports", "Discovery", "KVRouter", "KVEvents",
                "KVRouting", argumentParser, core, logging, lifecycle,
            ]
        ),

        // MARK: Examples of the README
        .executableTarget(
            name: "ShoutWorker",
            dependencies: ["DynamoRuntime", "RequestPlane", core],
            path: "Examples/ShoutWorker"
        ),
        .executableTarget(
            name: "ShoutClient",
            dependencies: ["DynamoRuntime", "RequestPlane", "RequestPlaneTransports", "Discovery", core],
            path: "Examples/ShoutClient"
        ),

        // MARK: Tests
        .target(
            name: "TestSupport",
            dependencies: [
                "RequestPlane", "Discovery", asyncHTTPClient, subprocess, systemPackage, http1, core, posix, logging,
            ],
            path: "Tests/TestSupport"
        ),
        .target(
            name: "FuzzSupport",
            dependencies: ["RequestPlane", "RequestPlaneTransports", "NATS", "Gateway", core],
            path: "Tests/FuzzSupport"
        ),
        .testTarget(
            name: "RequestPlaneTests",
            dependencies: ["RequestPlane", "TestSupport", "FuzzSupport", core],
            exclude: ["Fixtures"]
        ),
        .testTarget(
            name: "RequestPlaneTransportsTests",
            dependencies: [
                "RequestPlane", "RequestPlaneTransports", "TestSupport", "FuzzSupport", core, posix, http1, http2,
                hpack,
                embedded, logging, subprocess,
            ],
            exclude: ["Fixtures"]
        ),
        .testTarget(
            name: "DiscoveryTests",
            dependencies: ["Discovery", "RequestPlane", "TestSupport", "FuzzSupport", core, logging],
            exclude: ["Fixtures"]
        ),
        .testTarget(name: "DeploymentTests", dependencies: ["Deployment"], exclude: ["BadManifests", "GoldenPlans"]),
        .testTarget(
            name: "SupervisorTests",
            dependencies: ["Supervisor", "Deployment", "TestSupport", "CProcess", core, asyncHTTPClient, logging]
        ),
        .testTarget(
            name: "GatewayTests",
            dependencies: ["Gateway", "TestSupport", "FuzzSupport", core, posix, logging]
        ),
        .testTarget(
            name: "RolloutTests",
            dependencies: [
                "Rollout", "Deployment", "Supervisor", "Gateway", "TestSupport", core, posix, http1, logging,
            ]
        ),
        .testTarget(
            name: "DynamoRuntimeTests",
            dependencies: ["DynamoRuntime", "RequestPlane", "Discovery", "TestSupport", core, lifecycle, logging]
        ),
        .testTarget(
            name: "FrontendTests",
            dependencies: [
                "dynamo-frontend", "DynamoRuntime", "RequestPlane", "Discovery", "KVRouter", "KVRouting",
                "Tokenization",
                "RouterCommandLine", "TestSupport", asyncHTTPClient, http1,
                httpTypes, core,
                lifecycle, logging,
            ],
            exclude: ["Fixtures"]
        ),
        .testTarget(
            name: "TokenizationTests",
            dependencies: ["Tokenization", "Discovery", "TestSupport", subprocess],
            exclude: ["Fixtures"]
        ),
        .testTarget(
            name: "WorkerTests",
            dependencies: [
                "dynamo-worker", "DynamoRuntime", "RequestPlane", "Discovery", "KVRouter", "KVEvents", "TestSupport",
                argumentParser, core,
            ]
        ),
        .testTarget(
            name: "LoadTestTests",
            dependencies: ["LoadTest", "RequestPlane", "TestSupport", core, posix, http1]
        ),
        .testTarget(name: "NATSTests", dependencies: ["NATS", "TestSupport", core, posix, logging, crypto]),
        .testTarget(
            name: "KVRouterTests",
            dependencies: ["KVRouter", "Discovery", "TestSupport", "FuzzSupport"],
            exclude: ["Fixtures"]
        ),
        .testTarget(
            name: "KVEventsTests",
            dependencies: [
                "KVEvents", "KVRouter", "NATS", "RequestPlane", "TestSupport", "FuzzSupport", core, logging,
            ],
            exclude: ["Fixtures"]
        ),
        .testTarget(
            name: "KVRoutingTests",
            dependencies: [
                "KVRouting", "KVRouter", "KVEvents", "NATS", "Discovery", "RequestPlane", "TestSupport", core, logging,
            ]
        ),
        .testTarget(
            name: "RouterTests",
            dependencies: [
                "dynamo-router", "DynamoRuntime", "KVRouter", "RequestPlane", "RouterCommandLine", argumentParser,
            ]
        ),
        .executableTarget(name: "systemd-subject", dependencies: ["Systemd"], path: "Tests/SystemdSubject"),
        .testTarget(name: "SystemdTests", dependencies: ["Systemd", "systemd-subject", "TestSupport"]),
        .testTarget(name: "SystemLibrariesTests", dependencies: ["CSystemd", "CNATS", "CZeroMQ", "CXXHash"]),
        .testTarget(
            name: "LaunchTests",
            dependencies: [
                "dynamo-launch", "Deployment", "Supervisor", "Systemd", "Discovery", "KVRouting", "RequestPlane",
                "Gateway", "Rollout", "TestSupport", core,
            ]
        ),
        .testTarget(name: "ArchitectureTests"),
        .testTarget(
            name: "IntegrationTests",
            dependencies: [
                "Deployment", "Supervisor", "Discovery", "RequestPlane", "RequestPlaneTransports", "DynamoRuntime",
                "KVRouter", "KVEvents", "KVRouting", "NATS", "Rollout", "TestSupport", "FuzzSupport",
                "dynamo-launch", "dynamo-frontend", "dynamo-router", "dynamo-worker", "ShoutWorker", "ShoutClient",
                "systemd-subject",
                asyncHTTPClient,
                subprocess, core, posix, logging,
            ]
        ),
    ]
)

// MARK: - Programs that are built only on request

if Context.environment["DYNAMO_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(name: "fuzz-wire", dependencies: ["FuzzSupport"], path: "Tests/Fuzz")
    )
}

if Context.environment["DYNAMO_BENCHMARKS"] != nil {
    package.targets.append(
        .executableTarget(
            name: "plane-benchmark",
            dependencies: ["RequestPlane", "RequestPlaneTransports", "LoadTest", core, posix, logging],
            path: "Tests/Benchmarks/Plane"
        )
    )
    package.targets.append(
        .executableTarget(name: "index-benchmark", dependencies: ["KVRouter"], path: "Tests/Benchmarks/Index")
    )
    package.targets.append(
        .executableTarget(
            name: "event-benchmark",
            dependencies: ["KVEvents", "KVRouter", "NATS", "RequestPlane", core, logging],
            path: "Tests/Benchmarks/Events"
        )
    )
    package.targets.append(.executableTarget(name: "gateway-upstream", path: "Tests/Benchmarks/Gateway"))
}

// MARK: - Settings

// The static Swift runtime asks the linker to export every symbol. Nothing is loaded that would use them, yet their tables
// are read at each start, and count as resident memory: taken back. lld comes with every Swift toolchain.
let programLinking: [LinkerSetting] = [
    .unsafeFlags(
        ["-use-ld=lld", "-Xlinker", "--no-export-dynamic"],
        .when(platforms: [.linux], configuration: .release)
    )
]

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InferIsolatedConformances"),
    .enableUpcomingFeature("ImmutableWeakCaptures"),
]
let ciSettings: [SwiftSetting] =
    Context.environment["DYNAMO_CI"] == nil
    ? []
    : [.treatAllWarnings(as: .error), .treatWarning("DeprecatedDeclaration", as: .warning)]

for target in package.targets {
    if target.type == .executable { target.linkerSettings = programLinking }
    switch target.type {
    case .regular, .executable, .test: target.swiftSettings = settings + ciSettings
    default: break
    }
}
