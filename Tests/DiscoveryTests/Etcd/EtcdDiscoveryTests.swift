import Foundation
import Logging
import RequestPlane
import TestSupport
import Testing

@testable import Discovery

/// A real etcd that is quiet, restarted, exchanged, emptied, or forgets leases.
@Suite("etcd in trouble", .timeLimit(.minutes(1)))
struct EtcdDiscoveryTests {
    private func configuration(_ endpoints: [String]) -> EtcdConfiguration {
        var configuration = EtcdConfiguration(endpoints: endpoints)
        configuration.timing.renewal = .milliseconds(200)
        configuration.timing.retry = .milliseconds(100)
        return configuration
    }

    /// Runs clients while a body does; the watched one tells which instances it sees.
    private func watching(
        _ reader: EtcdDiscovery,
        and others: EtcdDiscovery...,
        body: (Recorded<[InstanceID]?>) async throws -> Void
    ) async throws {
        let seen = Recorded<[InstanceID]?>(nil)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for client in others + [reader] { group.addTask { try await client.run() } }
            let changes = reader.watch(.all)
            group.addTask { for await snapshot in changes { seen.value = snapshot.instances.map(\.instance.id) } }
            try await body(seen)
            group.cancelAll()
            while let result = await group.nextResult() { _ = result }
        }
    }

    private func publish(_ client: EtcdDiscovery, model: String = "m") async throws -> InstanceID {
        let id = try await client.instanceID()
        try await client.publish(DiscoveryConformance.records(namespace: "n", id: id, model: model))
        return id
    }

    @Test("a watch on which nothing happens goes on, without a word")
    func quiet() async throws {
        try await withEtcd { url in
            var configuration = self.configuration([url])
            configuration.timing.watch = .milliseconds(200)
            configuration.timing.retry = .milliseconds(10)
            let log = RecordedLog()
            let reader = EtcdDiscovery(configuration, logger: log.logger)
            let worker = EtcdDiscovery(configuration, logger: log.logger)
            try await self.watching(reader) { seen in
                try await eventually("the watch has been renewed") {
                    log.count("nothing has come for a while") >= 3 && seen.value == []
                }
                let id = try await self.publish(worker)
                try await eventually(within: .seconds(1), "a change is seen") { seen.value == [id] }
                #expect(log.problems == [])
            }
        }
    }

    @Test("when its member is gone, the next one is listed; the other's revision means nothing there")
    func memberSwitch() async throws {
        try await withTemporaryDirectory { directory in
            let first = try EtcdServer(directory: directory.appending(path: "a"))
            let second = try EtcdServer(directory: directory.appending(path: "b"))
            let log = RecordedLog()
            let reader = EtcdDiscovery(self.configuration([first.url, second.url]), logger: log.logger)
            try await second.run {
                let finished = Recorded(false)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        try await first.run {
                            try await eventually("the first member has done its part") { finished.value }
                        }
                    }
                    try await eventually(within: .seconds(30), "the first member answers") {
                        (try? await HTTPRequests.get(first.url + "/health", limit: 1))?.status == 200
                    }
                    try await self.watching(reader) { seen in
                        let worker = EtcdDiscovery(self.configuration([first.url]), logger: log.logger)
                        var id = try await self.publish(worker)
                        // Far ahead of the other one.
                        for number in 0..<50 { id = try await self.publish(worker, model: "m\(number)") }
                        try await eventually("the first member is watched") { seen.value == [id] }
                        finished.value = true
                        try await eventually("the second one is listed") { seen.value == [] }
                        let other = EtcdDiscovery(self.configuration([second.url]), logger: log.logger)
                        id = try await self.publish(other)
                        try await eventually(within: .seconds(3), "the second one is watched") { seen.value == [id] }
                    }
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test("a lease that etcd has forgotten is taken again, and everything is published under the same id")
    func revoked() async throws {
        try await withTemporaryDirectory { directory in
            let server = try EtcdServer(directory: directory)
            try await server.run {
                let log = RecordedLog()
                let worker = EtcdDiscovery(self.configuration([server.url]), logger: log.logger)
                let reader = EtcdDiscovery(self.configuration([server.url]), logger: log.logger)
                try await self.watching(reader, and: worker) { seen in
                    let id = try await self.publish(worker)
                    try await eventually("the worker is seen") { seen.value == [id] }
                    try await server.call("/v3/lease/revoke", #"{"ID":"\#(id.rawValue)"}"#)
                    try await eventually("it was noticed") { log.count("the lease in etcd was lost") == 1 }
                    try await eventually("the worker is back") { seen.value == [id] }
                    let models = try await reader.snapshot(.all).models
                    #expect(models.map(\.id) == [id])
                    await worker.withdraw()
                    try await eventually("nothing stays") { seen.value == [] }
                }
            }
        }
    }

    @Test("a publication that meets a lost lease takes it again by itself")
    func publishAfterLoss() async throws {
        try await withTemporaryDirectory { directory in
            let server = try EtcdServer(directory: directory)
            try await server.run {
                let log = RecordedLog()
                let worker = EtcdDiscovery(self.configuration([server.url]), logger: log.logger)
                let id = try await self.publish(worker)
                try await server.call("/v3/lease/revoke", #"{"ID":"\#(id.rawValue)"}"#)
                #expect(try await worker.snapshot(.all) == DiscoverySnapshot())
                #expect(try await self.publish(worker, model: "other") == id)
                #expect(try await worker.snapshot(.all).models.map(\.card.displayName) == ["other"])
            }
        }
    }

    @Test("etcd restarts, with its data and without: the worker is there again, and the watch goes on")
    func restart() async throws {
        try await withTemporaryDirectory { directory in
            let server = try EtcdServer(directory: directory)
            let log = RecordedLog()
            let worker = EtcdDiscovery(self.configuration([server.url]), logger: log.logger)
            let reader = EtcdDiscovery(self.configuration([server.url]), logger: log.logger)
            try await self.watching(reader, and: worker) { seen in
                let published = Recorded<InstanceID?>(nil)
                let (before, answers) = (Recorded(0), Recorded(0))
                try await server.run {
                    let id = try await self.publish(worker)
                    published.value = id
                    try await eventually("the worker is seen") { seen.value == [id] }
                    // The watch may have begun before etcd did.
                    before.value = log.count("cannot watch etcd")
                    answers.value = log.count("etcd answers again")
                }
                let id = try #require(published.value)
                try await eventually("the loss was reported") { log.count("cannot watch etcd") > before.value }
                try await server.run {
                    try await eventually("the watch is back") { log.count("etcd answers again") > answers.value }
                    #expect(seen.value == [id])
                }
                try FileManager.default.removeItem(at: server.data)
                try await server.run {
                    try await eventually("the worker was published again") {
                        try await reader.snapshot(.all).models.map(\.id) == [id]
                    }
                    let late = EtcdDiscovery(self.configuration([server.url]), logger: log.logger)
                    let other = try await self.publish(late)
                    try await eventually("a later change is seen") { Set(seen.value ?? []) == [id, other] }
                }
            }
        }
    }

    @Test("a watch whose history is gone, or whose store is another one, says so instead of waiting")
    func history() async throws {
        try await withTemporaryDirectory { directory in
            let server = try EtcdServer(directory: directory)
            try await server.run {
                var configuration = self.configuration([server.url])
                configuration.timing.watch = .milliseconds(500)
                let gateway = EtcdGateway(configuration)
                var listing = try await gateway.range(prefix: "v1/")
                for _ in 0..<5 { try await server.call("/v3/kv/put", #"{"key":"eA==","value":"eA=="}"#) }
                let now = try await gateway.range(prefix: "v1/").revision
                #expect(now == listing.revision + 5)
                try await server.call("/v3/kv/compaction", #"{"revision":"\#(now)"}"#)
                #expect(
                    try await gateway.watch(prefix: "v1/", after: listing) { _ in } == .compacted
                )
                listing.revision = now + 1000
                #expect(
                    try await gateway.watch(prefix: "v1/", after: listing) { _ in } == .replaced
                )
                listing.revision = now
                #expect(try await gateway.watch(prefix: "v1/", after: listing) { _ in } == .silence)
            }
        }
    }
}
