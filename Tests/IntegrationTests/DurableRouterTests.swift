import Foundation
import KVEvents
import Logging
import NATS
import TestSupport
import Testing

/// Our router on the durable stream of real mock engines, beside a real router that shares the stream and its snapshots.
@Suite("A router on durable KV events", .serialized, .timeLimit(.minutes(2)))
struct DurableRouterTests {
    private static let options = ["--router-durable-kv-events", "--router-snapshot-threshold", "5"]

    private func withMockers(_ body: (RoutedPlace, DurableEventStream) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder in
            try await NATSServerFixture.run(configuration: NATSServerFixture.jetStream(in: folder)) { server in
                let connection = try await NATSConnection.connect(
                    NATSConfiguration(servers: [NATSServerAddress(host: "127.0.0.1", port: server.port)]),
                    logger: Logger(label: "durable")
                )
                let stream = DurableEventStream(JetStream(connection), namespace: "dynamo", component: "backend")
                try await RoutedPlace.run(nats: server.url) { place in
                    try await place.withMockers(.v121, ["--num-workers", "2", "--durable-kv-events"]) { _ in
                        try await body(place, stream)
                    }
                }
                await connection.close()
            }
        }
    }

    private static func expectHolders(_ holders: [Int: UInt64], _ router: RoutedCaller) async throws {
        for (number, holder) in holders {
            #expect(try await router.bestWorker(RoutedPlace.prompt(number)) == holder, "prompt \(number)")
        }
    }

    /// Sends prompts, and waits until the router has heard of their blocks.
    private static func fill(_ numbers: Range<Int>, _ router: RoutedCaller) async throws -> [Int: UInt64] {
        var holders: [Int: UInt64] = [:]
        for number in numbers {
            let prompt = RoutedPlace.prompt(number)
            let answer = try await router.ask(prompt)
            #expect(answer.tokens == 3)
            holders[number] = answer.worker
            try await eventually("the router hears of the blocks") {
                if router.scores != nil { return try await router.held(prompt)[answer.worker] ?? 0 >= 10 }
                for _ in 0..<6 where try await router.bestWorker(prompt) != answer.worker { return false }
                return true
            }
        }
        return holders
    }

    @Test func `a router that starts late has the snapshot of a real one, and what came after it`() async throws {
        try await self.withMockers { place, stream in
            try await place.withRouter(.real(.v121), Self.options) { real in
                let holders = try await Self.fill(0..<10, real)
                try await eventually(within: .seconds(40), "it writes a snapshot") {
                    try await stream.snapshot() != nil
                }
                try await place.withRouter(.ours, Self.options + ["--router-min-initial-workers", "2"]) { ours in
                    #expect(ours.program.output.contains("a snapshot was taken over"), "\(ours.program.output)")
                    try await Self.expectHolders(holders, ours)
                    // Both go on.
                    let more = try await Self.fill(20..<24, ours)
                    try await eventually("the real one has heard of them") {
                        for (number, holder) in more {
                            guard try await real.bestWorker(RoutedPlace.prompt(number)) == holder else { return false }
                        }
                        return true
                    }
                }
            }
        }
    }

    @Test func `a real router that starts late has the snapshot of ours`() async throws {
        try await self.withMockers { place, _ in
            try await place.withRouter(.ours, Self.options + ["--router-min-initial-workers", "2"]) { ours in
                let holders = try await Self.fill(0..<10, ours)
                try await ours.program.waitForOutput("a snapshot has replaced")
                try await place.withRouter(.real(.v121), Self.options) { real in
                    try await eventually(within: .seconds(20), "it has read everything") {
                        for (number, holder) in holders {
                            guard try await real.bestWorker(RoutedPlace.prompt(number)) == holder else { return false }
                        }
                        return true
                    }
                    for _ in 0..<4 { try await Self.expectHolders(holders, real) }
                }
            }
            // What was before is forgotten on request.
            let reset = Self.options + ["--router-reset-states", "--router-min-initial-workers", "2"]
            try await place.withRouter(.ours, reset) { ours in
                for number in 0..<10 {
                    let held = try await ours.held(RoutedPlace.prompt(number))
                    #expect(held.values.allSatisfy { $0 == 0 }, "\(held)")
                }
            }
        }
    }
}
