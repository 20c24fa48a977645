import Discovery
import Foundation
import Logging
import RequestPlane
import TestSupport
import Testing

@Suite("The directory that Dynamo's processes share")
struct FileDiscoveryTests {
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func files(_ directory: URL, _ bucket: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory.appending(path: bucket).path).sorted()
    }

    @Test("layout, names and content are Dynamo's")
    func layout() async throws {
        try await withTemporaryDirectory { directory in
            let client = FileDiscovery(
                directory: directory.path,
                instanceID: InstanceID(rawValue: 0xE511_7205_36D2_B9EF),
                logger: Self.quiet
            )
            let records = DiscoveryConformance.records(namespace: "dynamo", id: client.instanceID())
            try await client.publish(records)
            let name = "dynamo%2Fbackend%2Fgenerate%2Fe511720536d2b9ef"
            #expect(try self.files(directory, "v1/instances") == [name])
            #expect(try self.files(directory, "v1/mdc") == [name])
            let content = try Data(contentsOf: directory.appending(path: "v1/instances").appending(path: name))
            #expect(try JSONValue(parsing: content) == records[0].json)
            await client.withdraw()
            #expect(try self.files(directory, "v1/instances") == [])
            #expect(try self.files(directory, "v1/mdc") == [])
        }
    }

    @Test("what cannot be removed does not keep the others")
    func removal() async throws {
        try await withTemporaryDirectory { directory in
            let own = [10, 11].map { number in
                FileDiscovery(
                    directory: directory.path,
                    instanceID: InstanceID(rawValue: number),
                    logger: Self.quiet
                )
            }
            for client in own {
                try await client.publish(DiscoveryConformance.records(namespace: "dynamo", id: client.instanceID()))
            }
            let gone = try await own[0].snapshot(.exact("dynamo")).instances.sorted {
                $0.instance.id.rawValue < $1.instance.id.rawValue
            }
            try #require(gone.count == 2)
            let first = directory.appending(path: "v1/instances/dynamo%2Fbackend%2Fgenerate%2Fa")
            try FileManager.default.removeItem(at: first)
            try FileManager.default.createDirectory(at: first, withIntermediateDirectories: false)
            let error = await #expect(throws: DiscoveryError.self) { try await own[0].remove(gone) }
            #expect(error.map { "\($0)" }?.contains("cannot delete \(first.path)") == true, "\(error.debugDescription)")
            #expect(try self.files(directory, "v1/instances") == [first.lastPathComponent])
            #expect(try self.files(directory, "v1/mdc").count == 2, "models stay")
        }
    }

    @Test("what nobody renews is a leftover, by its key")
    func leftovers() async throws {
        try await withTemporaryDirectory { directory in
            let client = FileDiscovery(
                directory: directory.path,
                instanceID: InstanceID(rawValue: 10),
                logger: Self.quiet
            )
            let records = DiscoveryConformance.records(namespace: "dynamo", id: client.instanceID())
            try await client.publish(records)
            #expect(try await client.leftovers().isEmpty)
            let file = directory.appending(path: "v1/instances/dynamo%2Fbackend%2Fgenerate%2Fa").path
            let old = Date(timeIntervalSinceNow: -61)
            try FileManager.default.setAttributes([.modificationDate: old], ofItemAtPath: file)
            let leftovers = try await client.leftovers()
            #expect(leftovers.map(\.key) == ["v1/instances/dynamo/backend/generate/a"])
            #expect((.seconds(60)...(.seconds(90))).contains(try #require(leftovers.first).age))
            #expect(FileManager.default.fileExists(atPath: file), "it is only named")
        }
    }

    @Test("a directory that does not exist holds nothing, and is not created by reading")
    func missing() async throws {
        try await withTemporaryDirectory { directory in
            let root = directory.appending(path: "none")
            let client = FileDiscovery(directory: root.path, logger: Self.quiet)
            let snapshot = try await client.snapshot(.all)
            #expect(snapshot == DiscoverySnapshot())
            #expect(!FileManager.default.fileExists(atPath: root.path))
        }
    }

    @Test("files that are no records are left out; those of the others stay readable")
    func rubbish() async throws {
        try await withTemporaryDirectory { directory in
            let client = FileDiscovery(directory: directory.path, logger: Self.quiet)
            try await client.publish(DiscoveryConformance.records(namespace: "n", id: client.instanceID()))
            let bucket = directory.appending(path: "v1/instances")
            for (name, content) in [("empty", ""), ("text", "hello"), (".tmp_0123456789abcdef", "{}"), ("other", "{}")]
            {
                try Data(content.utf8).write(to: bucket.appending(path: name))
            }
            try FileManager.default.createDirectory(
                at: bucket.appending(path: "folder"),
                withIntermediateDirectories: true
            )
            #expect(try await client.snapshot(.all).instances.count == 1)
        }
    }

    @Test("what is withdrawn while it is being published does not come back", .timeLimit(.minutes(1)))
    func withdrawnWhilePublishing() async throws {
        try await withTemporaryDirectory { directory in
            let client = FileDiscovery(directory: directory.path, logger: Self.quiet)
            let records = (0..<2000).flatMap { number in
                DiscoveryConformance.records(namespace: "n\(number)", id: client.instanceID())
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await client.publish(records) }
                try await eventually("the first file is written") {
                    (try? self.files(directory, "v1/instances").isEmpty) == false
                }
                await client.withdraw()
                try await group.waitForAll()
            }
            #expect(try self.files(directory, "v1/instances") == [])
            #expect(try self.files(directory, "v1/mdc") == [])
        }
    }

    @Test("the owner renews its files and restores one that others have deleted")
    func renewal() async throws {
        try await withTemporaryDirectory { directory in
            let client = FileDiscovery(directory: directory.path, logger: Self.quiet)
            try await client.publish(DiscoveryConformance.records(namespace: "n", id: client.instanceID()))
            let bucket = directory.appending(path: "v1/instances")
            let file = bucket.appending(path: try #require(try self.files(directory, "v1/instances").first)).path
            let old = Date(timeIntervalSinceNow: -9)
            try FileManager.default.setAttributes([.modificationDate: old], ofItemAtPath: file)
            try FileManager.default.removeItem(at: directory.appending(path: "v1/mdc"))
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await client.run() }
                try await eventually("the file is touched") {
                    let date = try FileManager.default.attributesOfItem(atPath: file)[.modificationDate] as? Date
                    return try #require(date) > old.addingTimeInterval(5)
                }
                try await eventually("the deleted file is back") { try await client.snapshot(.all).models.count == 1 }
                group.cancelAll()
                while let result = await group.nextResult() { _ = result }
            }
        }
    }

    @Test(
        "a file whose owner is gone counts at once no more and is deleted by whoever watches",
        .timeLimit(.minutes(1))
    )
    func leftOver() async throws {
        try await withTemporaryDirectory { directory in
            let dead = FileDiscovery(directory: directory.path, logger: Self.quiet)
            try await dead.publish(DiscoveryConformance.records(namespace: "n", id: dead.instanceID()))
            let reader = FileDiscovery(directory: directory.path, logger: Self.quiet)
            #expect(try await reader.snapshot(.all).instances.count == 1)
            for bucket in ["v1/instances", "v1/mdc"] {
                for file in try self.files(directory, bucket) {
                    try FileManager.default.setAttributes(
                        [.modificationDate: Date(timeIntervalSinceNow: -60)],
                        ofItemAtPath: directory.appending(path: bucket).appending(path: file).path
                    )
                }
            }
            #expect(try await reader.snapshot(.all) == DiscoverySnapshot())
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await reader.run() }
                let changes = reader.watch(.all)
                group.addTask { for await _ in changes {} }
                try await eventually(within: .seconds(20), "the files are deleted") {
                    try self.files(directory, "v1/instances").isEmpty && self.files(directory, "v1/mdc").isEmpty
                }
                group.cancelAll()
                while let result = await group.nextResult() { _ = result }
            }
        }
    }

    @Test("a change is noticed within a fraction of the sweep's interval, also in a directory that was made again")
    func prompt() async throws {
        try await withTemporaryDirectory { directory in
            let reader = FileDiscovery(directory: directory.path, logger: Self.quiet)
            let seen = Recorded(0)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await reader.run() }
                let changes = reader.watch(.all)
                group.addTask { for await snapshot in changes { seen.value = snapshot.instances.count } }
                try await eventually("the directory is watched") {
                    FileManager.default.fileExists(atPath: directory.appending(path: "v1/mdc").path)
                }
                let buckets = ["v1/instances", "v1/mdc"].map { directory.appending(path: $0).path }
                func exist() -> Bool { buckets.allSatisfy { FileManager.default.fileExists(atPath: $0) } }
                var fastest = Duration.seconds(100)
                for round in 1...5 {
                    let worker = FileDiscovery(directory: directory.path, logger: Self.quiet)
                    let start = ContinuousClock.now
                    try await worker.publish(DiscoveryConformance.records(namespace: "n", id: worker.instanceID()))
                    try await eventually("worker \(round) is seen") { seen.value == 1 }
                    if round > 2 { fastest = min(fastest, start.duration(to: .now)) }
                    if round <= 2 {
                        let root = directory.appending(path: "v1")
                        if round == 1 {
                            try FileManager.default.removeItem(at: root)
                        } else {
                            try FileManager.default.moveItem(at: root, to: directory.appending(path: "away"))
                        }
                        try await eventually("the buckets are made again") { exist() }
                    } else {
                        await worker.withdraw()
                    }
                    try await eventually("worker \(round) is gone") { seen.value == 0 }
                }
                // Sweeps alone would need 550 ms on average; the fastest of three must not have waited for one.
                #expect(fastest < .milliseconds(100))
                group.cancelAll()
                while let result = await group.nextResult() { _ = result }
            }
        }
    }

    @Test("who reads while others write, or were killed while they wrote, never sees half a record")
    func halfRecords() async throws {
        try await withTemporaryDirectory { directory in
            let client = FileDiscovery(directory: directory.path, logger: Self.quiet)
            let id = client.instanceID()
            // Too large for one write to be safe by luck.
            let versions = (0..<10).map { number in
                DiscoveryConformance.records(
                    namespace: "n",
                    id: id,
                    model: String(repeating: "m\(number)", count: 40_000)
                )
            }
            try await client.publish(versions[0])
            let bucket = directory.appending(path: "v1/mdc")
            let file = bucket.appending(path: try #require(try self.files(directory, "v1/mdc").first))
            let abandoned = bucket.appending(path: ".tmp_00000000000000aa")
            let fresh = bucket.appending(path: ".tmp_00000000000000bb")
            for half in [abandoned, fresh] { try Data(#"{"type":"Mod"#.utf8).write(to: half) }
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSinceNow: -100)],
                ofItemAtPath: abandoned.path
            )
            let isWriting = Recorded(true)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for version in versions { try await client.publish(version) }
                    isWriting.value = false
                }
                var reads = 0
                while isWriting.value || reads == 0 {
                    _ = try JSONValue(parsing: try Data(contentsOf: file))
                    reads += 1
                    await Task.yield()
                }
                try await group.waitForAll()
            }
            #expect(try await client.snapshot(.all) == DiscoverySnapshot(versions[9]))
            // What a killed writer has left is cleaned up by whoever watches.
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await client.run() }
                let changes = client.watch(.all)
                group.addTask { for await _ in changes {} }
                try await eventually("the abandoned file is deleted") {
                    !FileManager.default.fileExists(atPath: abandoned.path)
                }
                #expect(FileManager.default.fileExists(atPath: fresh.path))
                group.cancelAll()
                while let result = await group.nextResult() { _ = result }
            }
        }
    }

    @Test("a record that cannot be restored, as on a full disk, is reported and costs the others nothing")
    func cannotRestore() async throws {
        try await withTemporaryDirectory { directory in
            let log = RecordedLog()
            let client = FileDiscovery(directory: directory.path, logger: log.logger)
            try await client.publish(DiscoveryConformance.records(namespace: "n", id: client.instanceID()))
            let model = directory.appending(path: "v1/mdc")
                .appending(path: try #require(try self.files(directory, "v1/mdc").first)).path
            let old = Date(timeIntervalSinceNow: -9)
            try FileManager.default.setAttributes([.modificationDate: old], ofItemAtPath: model)
            let blocked = directory.appending(path: "v1/instances")
            try FileManager.default.removeItem(at: blocked)
            try Data().write(to: blocked)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await client.run() }
                try await eventually("it is reported") { log.count("cannot renew the discovery records") > 0 }
                let date = try FileManager.default.attributesOfItem(atPath: model)[.modificationDate] as? Date
                #expect(try #require(date) > old.addingTimeInterval(5))
                try FileManager.default.removeItem(at: blocked)
                try await eventually("it is restored") { try await client.snapshot(.all).instances.count == 1 }
                group.cancelAll()
                while let result = await group.nextResult() { _ = result }
            }
        }
    }
}
