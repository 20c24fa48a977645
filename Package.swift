// swift-tools-version: 6.2
import PackageDescription

// MARK: - Dependencies

let nio = "swift-nio"
let core: Target.Dependency = .product(name: "NIOCore", package: nio)
let posix: Target.Dependency = .product(name: "NIOPosix", package: nio)
let http1: Target.Dependency = .product(name: "NIOHTTP1", package: nio)
let embedded: Target.Dependency = .product(name: "NIOEmbedded", package: nio)
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let asyncHTTPClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let collections: Target.Dependency = .product(name: "Collections", package: "swift-collections")

let package = Package(
    name: "dynamo-launch",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "dynamo-launch", targets: ["dynamo-launch"]),
        .executable(name: "dynamo-frontend", targets: ["dynamo-frontend"]),
        .executable(name: "dynamo-worker", targets: ["dynamo-worker"]),
        .library(name: "RequestPlane", targets: ["RequestPlane", "RequestPlaneTransports"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-collections.git", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
        .package(url: "https://github.com/swift-server/async-http-client.git", from: "1.37.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.0"),
        .package(url: "https://github.com/jpsim/Yams.git", from: "6.2.0"),
    ],
    targets: [
        // MARK: C, behind one door each
        .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
        .target(name: "CProcess"),

        // MARK: Serving half
        .target(name: "RequestPlane", dependencies: [core, logging]),
        .target(
            name: "RequestPlaneTransports",
            dependencies: ["RequestPlane", core, posix, logging, collections]
        ),
        .target(
            name: "Discovery",
            dependencies: ["RequestPlane", core, posix, .product(name: "_NIOFileSystem", package: nio), asyncHTTPClient, logging]
        ),
        .target(
            name: "DynamoRuntime",
            dependencies: ["RequestPlane", "RequestPlaneTransports", "Discovery", core, posix, http1, lifecycle, unixSignals, logging]
        ),

        // MARK: Operating half
        .target(name: "Systemd", dependencies: ["CSystemd"]),
        .target(name: "Deployment", dependencies: ["Yams", collections]),
        .target(
            name: "Supervisor",
            dependencies: [
                "Deployment", "Systemd", "CProcess", "RequestPlane", core, posix, http1, hummingbird, asyncHTTPClient, logging,
                lifecycle, collections,
            ]
        ),

        // MARK: Programs
        .executableTarget(
            name: "dynamo-launch",
            dependencies: [
                "Deployment", "Supervisor", "Systemd", "Discovery", "RequestPlane", "DynamoRuntime", argumentParser, asyncHTTPClient,
                unixSignals, logging, core, posix,
            ]
        ),
        .executableTarget(
            name: "dynamo-frontend",
            dependencies: ["DynamoRuntime", "RequestPlane", "Discovery", argumentParser, hummingbird, core, logging, lifecycle]
        ),
        .executableTarget(
            name: "dynamo-worker",
            dependencies: ["DynamoRuntime", "RequestPlane", "Discovery", argumentParser, core, logging, lifecycle]
        ),

        // MARK: Tests
        .target(
            name: "TestSupport",
            dependencies: ["RequestPlane", "Discovery", asyncHTTPClient, core, posix, logging],
            path: "Tests/TestSupport"
        ),
        .testTarget(name: "RequestPlaneTests", dependencies: ["RequestPlane", "TestSupport", core]),
        .testTarget(
            name: "RequestPlaneTransportsTests",
            dependencies: ["RequestPlane", "RequestPlaneTransports", "TestSupport", core, posix, embedded, logging]
        ),
        .testTarget(name: "DiscoveryTests", dependencies: ["Discovery", "RequestPlane", "TestSupport", core]),
        .testTarget(name: "DeploymentTests", dependencies: ["Deployment"], exclude: ["BadManifests", "GoldenPlans"]),
        .testTarget(name: "SupervisorTests", dependencies: ["Supervisor", "Deployment", "TestSupport", "CProcess", core, asyncHTTPClient, logging]),
        .testTarget(name: "DynamoRuntimeTests", dependencies: ["DynamoRuntime", "RequestPlane", "Discovery", "TestSupport", logging]),
        .testTarget(name: "ArchitectureTests"),
        .testTarget(
            name: "IntegrationTests",
            dependencies: [
                "Deployment", "Supervisor", "Discovery", "RequestPlane", "RequestPlaneTransports", "DynamoRuntime", "TestSupport",
                "dynamo-launch", "dynamo-frontend", "dynamo-worker", asyncHTTPClient, core, posix, logging,
            ]
        ),
    ]
)

// MARK: - Settings

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
    switch target.type {
    case .regular, .executable, .test: target.swiftSettings = settings + ciSettings
    default: break
    }
}
