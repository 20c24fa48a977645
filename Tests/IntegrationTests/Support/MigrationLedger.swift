import Foundation
import Supervisor
import TestSupport
import Testing

/// Counts what each generation of a deployment did with the requests of clients, at three places that know nothing of each other.
struct MigrationLedger {
    /// Requests that have ended.
    struct Counts: Sendable, Hashable, CustomStringConvertible {
        /// What the gateway says that the generation's frontends got.
        var gateway = 0
        /// What the frontends themselves say.
        var frontends = 0
        /// What the workers say.
        var workers = 0

        var description: String { "gateway \(self.gateway), frontends \(self.frontends), workers \(self.workers)" }

        static func - (one: Counts, other: Counts) -> Counts {
            Counts(
                gateway: one.gateway - other.gateway,
                frontends: one.frontends - other.frontends,
                workers: one.workers - other.workers
            )
        }
    }

    let deployment: LaunchedDeployment
    private var opened: [Int: Counts] = [:]
    /// What clients' requests were, of each generation that is closed.
    private(set) var counts: [Int: Counts] = [:]

    init(_ deployment: LaunchedDeployment) { self.deployment = deployment }

    /// Requests of clients come from now on: readiness and canary are done, and do not count.
    mutating func open(_ generation: Int) async throws {
        self.opened[generation] = try await self.settled(generation)
    }

    /// No more requests come.
    mutating func close(_ generation: Int) async throws {
        let before = try #require(self.opened[generation])
        self.counts[generation] = try await self.settled(generation) - before
    }

    /// Checks that each request of the clients was served once, by one generation, and by that one wholly.
    ///
    /// A request that was begun by one generation and done again by another one, or twice by the same, makes the sum of a column larger
    /// than what clients sent; one that crossed from a frontend of one generation to a worker of another one makes its row uneven.
    func check(_ totals: SteadyClients.Totals, generations: Int) async throws {
        #expect(self.counts.count == generations)
        for (generation, counts) in self.counts.sorted(by: { $0.key < $1.key }) {
            #expect(counts.gateway > 0, "generation \(generation) had its part")
            #expect(
                counts.frontends == counts.gateway && counts.workers == counts.gateway,
                "generation \(generation): \(counts)"
            )
        }
        #expect(self.counts.values.reduce(0) { $0 + $1.gateway } == totals.requests, "\(self.counts)")
        let gateway = try #require(try await self.status().gateway)
        #expect(gateway.backends.map(\.errors).allSatisfy { $0 == 0 }, "\(gateway)")
        #expect(gateway.refused == 0 && gateway.held == 0, "\(gateway)")
    }

    func status() async throws -> DeploymentStatus {
        let json = try await self.deployment.command("status", "--json").output
        return try JSONDecoder().decode(DeploymentStatus.self, from: Data(json.utf8))
    }

    // MARK: Parts

    /// The counts once nothing is under way at the workers: a request that was given up ends a moment later there.
    private func settled(_ generation: Int) async throws -> Counts {
        var counts = Counts()
        var last: Counts?
        try await eventually("generation \(generation) has nothing to do") {
            var underWay = 0
            counts = Counts()
            for url in self.urls(generation) {
                let text = try await HTTPRequests.get(url + "/metrics", limit: 5).text
                counts.frontends += Self.sum(text, "dynamo_frontend_requests_total{")
                counts.workers += Self.sum(
                    text,
                    #"dynamo_component_requests_total{"#,
                    with: #"dynamo_endpoint="generate""#
                )
                underWay += Self.sum(text, "dynamo_frontend_inflight_requests{")
                underWay += Self.sum(text, "dynamo_component_inflight_requests{")
            }
            let backends = try await self.status().gateway?.backends ?? []
            counts.gateway = backends.filter { $0.generation == generation }.reduce(0) { $0 + $1.requests }
            defer { last = counts }
            return underWay == 0 && last == counts
        }
        return counts
    }

    /// Where the processes of a generation serve their metrics.
    private func urls(_ generation: Int) -> [String] {
        var ports: Set<String> = []
        for pid in self.deployment.processes {
            let environment = SystemProcesses.environment(of: pid)
            guard let namespace = environment["DYN_NAMESPACE"], Self.generation(of: namespace) == generation else {
                continue
            }
            if let port = environment["DYN_SYSTEM_PORT"] ?? environment["DYN_HTTP_PORT"] { ports.insert(port) }
        }
        return ports.map { "http://127.0.0.1:\($0)" }
    }

    /// 2 of `g2-chat`, 1 of `chat`.
    private static func generation(of namespace: String) -> Int {
        guard namespace.first == "g", let end = namespace.firstIndex(of: "-") else { return 1 }
        return Int(namespace[namespace.index(after: namespace.startIndex)..<end]) ?? 1
    }

    private static func sum(_ text: String, _ prefix: String, with label: String = "") -> Int {
        text.split(separator: "\n").filter { $0.hasPrefix(prefix) && (label.isEmpty || $0.contains(label)) }
            .compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }
            .reduce(0) { $0 + Int($1) }
    }
}
