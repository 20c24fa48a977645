import Foundation
import TestSupport
import Testing

/// Our router in front of real mock engines of both releases, on both event planes, without being told which.
@Suite(.serialized, .timeLimit(.minutes(2))) struct RouterPlaneTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var peer: TestEnvironment.DynamoPeer
        var plane: RoutedPlace.Plane
        var testDescription: String { "\(self.peer) on \(self.plane)" }
    }

    static let cases = [
        Case(peer: .v121, plane: .zmq), Case(peer: .v161, plane: .nats), Case(peer: .v161, plane: .zmq),
    ]

    private static let options = ["--router-min-initial-workers", "2"]

    @Test(arguments: cases)
    func `what is asked again goes where its blocks are, and a router that starts late knows them`(
        _ example: Case
    ) async throws {
        try await RoutedPlace.run(on: example.plane) { place in
            try await place.withMockers(example.peer) { _ in
                let holders = try await place.withRouter(.ours, Self.options) { router in
                    var holders: [Int: UInt64] = [:]
                    for number in 0..<6 {
                        let prompt = RoutedPlace.prompt(number)
                        let first = try await router.ask(prompt)
                        #expect(first.tokens >= 3)
                        try await eventually("the router hears of the blocks") {
                            try await router.held(prompt)[first.worker] ?? 0 >= 10
                        }
                        #expect(try await router.ask(prompt).worker == first.worker)
                        holders[number] = first.worker
                    }
                    return holders
                }
                try await place.withRouter(.ours, Self.options) { router in
                    for (number, holder) in holders {
                        let held = try await router.held(RoutedPlace.prompt(number))
                        #expect(held[holder] ?? 0 >= 10, "\(held)")
                        let best = try await router.bestWorker(RoutedPlace.prompt(number))
                        #expect(best == holder)
                    }
                }
            }
        }
    }
}
