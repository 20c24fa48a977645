import Discovery
import DynamoRuntime
import Foundation
import Glibc
import Logging
import RequestPlane
import ServiceLifecycle
import TestSupport
import Testing

@Suite("What every process of a deployment runs", .timeLimit(.minutes(1)))
struct RuntimeServiceTests {
    /// Something that runs beside the runtime until a test lets it end.
    private struct Component: Service {
        struct Broken: Error {}

        let isReleased: Recorded<Bool>
        var breaks = false

        func run() async throws {
            try await eventually(within: .seconds(30), "released") { self.isReleased.value }
            if self.breaks { throw Broken() }
        }
    }

    private static let endpoint = RuntimeService.Endpoint(
        id: EndpointID(namespace: "n", component: "backend", name: "generate"),
        card: .text(name: "m", kind: .chat, contextLength: 64),
        handler: { _ in AsyncThrowingStream<ResponseItem, any Error> { $0.finish() } }
    )

    private func environment(_ directory: URL) throws -> ProcessEnvironment {
        var environment = try ProcessEnvironment(
            ["DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": directory.path, "DYN_TCP_RPC_HOST": "127.0.0.1"],
            label: "test"
        )
        environment.logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        return environment
    }

    private func records(_ directory: URL) -> [String] {
        ["v1/instances", "v1/mdc"].flatMap { bucket in
            (try? FileManager.default.contentsOfDirectory(atPath: directory.appending(path: bucket).path)) ?? []
        }
    }

    @Test("what is served when the process was already asked to stop is not published")
    func stoppedWhileStarting() async throws {
        try await withTemporaryDirectory { directory in
            let (isStarting, hasServed, isReleased) = (Recorded(false), Recorded(false), Recorded(false))
            let runtime = RuntimeService(try self.environment(directory)) { runtime in
                isStarting.value = true
                try await eventually("asked to stop") { runtime.health.isDraining }
                try await runtime.serve([Self.endpoint])
                hasServed.value = true
            }
            // Keeps the process draining, as a request that goes on would.
            runtime.add(Component(isReleased: isReleased))
            let group = ServiceGroup(configuration: .init(services: [runtime], logger: runtime.logger))
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await group.run() }
                try await eventually("the start is under way") { isStarting.value }
                await group.triggerGracefulShutdown()
                try await eventually("the start has ended") { hasServed.value }
                #expect(self.records(directory) == [])
                isReleased.value = true
                try await tasks.waitForAll()
            }
            #expect(self.records(directory) == [])
        }
    }

    @Test("a start that fails when the process was already asked to stop does not cut short what runs")
    func failedWhileStopping() async throws {
        try await withTemporaryDirectory { directory in
            let (isStarting, hasFailed, isReleased) = (Recorded(false), Recorded(false), Recorded(false))
            let runtime = RuntimeService(try self.environment(directory)) { runtime in
                isStarting.value = true
                try await eventually("asked to stop") { runtime.health.isDraining }
                hasFailed.value = true
                throw DiscoveryError(.storeUnavailable, "the store is gone")
            }
            runtime.add(Component(isReleased: isReleased))
            let group = ServiceGroup(configuration: .init(services: [runtime], logger: runtime.logger))
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await group.run() }
                try await eventually("the start is under way") { isStarting.value }
                await group.triggerGracefulShutdown()
                try await eventually("the start has failed") { hasFailed.value }
                isReleased.value = true
                // The service ends because it was asked to, not with the error.
                try await tasks.waitForAll()
            }
        }
    }

    @Test("a process that fails leaves no record behind")
    func failed() async throws {
        try await withTemporaryDirectory { directory in
            let isReleased = Recorded(false)
            let runtime = RuntimeService(try self.environment(directory)) { runtime in
                try await runtime.serve([Self.endpoint])
            }
            runtime.add(Component(isReleased: isReleased, breaks: true))
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { await #expect(throws: Component.Broken.self) { try await runtime.run() } }
                try await eventually("it is published") { self.records(directory).count == 2 }
                isReleased.value = true
                try await tasks.waitForAll()
            }
            #expect(self.records(directory) == [])
        }
    }

    @Test("a process that is asked to stop takes back its models before its instances")
    func modelsFirst() async throws {
        try await withTemporaryDirectory { directory in
            let runtime = RuntimeService(try self.environment(directory)) { runtime in
                try await runtime.serve([Self.endpoint])
            }
            let group = ServiceGroup(configuration: .init(services: [runtime], logger: runtime.logger))
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await group.run() }
                try await eventually("it is published") { self.records(directory).count == 2 }
                // In one queue, in the order in which it happens.
                let deletions = try Deletions(
                    in: ["v1/instances", "v1/mdc"].map { directory.appending(path: $0).path }
                )
                await group.triggerGracefulShutdown()
                try await tasks.waitForAll()
                #expect(try deletions.folders() == [1, 0])
            }
        }
    }
}

/// What the system says about files that are deleted in folders.
private final class Deletions {
    private let descriptor: Int32
    private let watches: [Int32]

    init(in folders: [String]) throws {
        let descriptor = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
        guard descriptor >= 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        self.descriptor = descriptor
        self.watches = folders.map { inotify_add_watch(descriptor, $0, UInt32(IN_DELETE)) }
    }

    deinit { close(self.descriptor) }

    /// For each deletion until now, the number of its folder.
    func folders() throws -> [Int] {
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = read(self.descriptor, &bytes, bytes.count)
        try #require(count > 0, "no file was deleted")
        var found: [Int] = []
        var offset = 0
        // An event: watch, mask, cookie and the length of the name, then the name.
        while offset + 16 <= count {
            let fields = bytes.withUnsafeBytes { event in
                [0, 12].map { event.loadUnaligned(fromByteOffset: offset + $0, as: Int32.self) }
            }
            found.append(try #require(self.watches.firstIndex(of: fields[0])))
            offset += 16 + Int(fields[1])
        }
        return found
    }
}
