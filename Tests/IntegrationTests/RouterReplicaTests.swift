import Foundation
import RequestPlane
import TestSupport
import Testing

/// Routers of the same workers, which tell each other what runs where.
@Suite(.serialized, .timeLimit(.minutes(2))) struct RouterReplicaTests {
    struct Pair: Sendable, CustomTestStringConvertible {
        var sender: RoutedPlace.Router
        var hearer: RoutedPlace.Router
        var peer = TestEnvironment.DynamoPeer.v121
        var plane = RoutedPlace.Plane.nats
        var testDescription: String {
            "\(self.hearer.testDescription) hears \(self.sender.testDescription) on \(self.plane)"
        }
    }

    static let pairs = [
        Pair(sender: .ours, hearer: .ours), Pair(sender: .ours, hearer: .real(.v121)),
        Pair(sender: .real(.v121), hearer: .ours), Pair(sender: .ours, hearer: .ours, plane: .zmq),
        Pair(sender: .ours, hearer: .real(.v161), peer: .v161, plane: .zmq),
        Pair(sender: .real(.v161), hearer: .ours, peer: .v161, plane: .zmq),
    ]

    @Test(arguments: pairs)
    func `what one router has sent somewhere keeps another from sending there, until it has ended`(
        _ pair: Pair
    ) async throws {
        try await RoutedPlace.run(on: pair.plane) { place in
            try await place.withMockers(pair.peer) { _ in
                let options = ["--router-replica-sync", "--router-min-initial-workers", "2"]
                try await place.withRouter(pair.sender, Self.options(pair.sender, options)) { sender in
                    try await place.withRouter(pair.hearer, Self.options(pair.hearer, options)) { hearer in
                        try await Self.check(sender, hearer)
                    }
                }
            }
        }
    }

    private static func options(_ router: RoutedPlace.Router, _ all: [String]) -> [String] {
        // A real router of 1.2 takes the least number of workers from a variable only.
        if case .real = router { [all[0]] } else { all }
    }

    private static func check(_ sender: RoutedCaller, _ hearer: RoutedCaller) async throws {
        for router in [sender, hearer] {
            try await eventually(within: .seconds(20), "the router knows both workers") {
                try await router.bestWorkers(12).count == 2
            }
        }
        var busy: UInt64 = 0
        do {
            let stream = try await sender.open(RoutedPlace.prompt(1, blocks: 40), tokens: 5000)
            // Held to the end: whoever lets go of it ends the request.
            var items = stream.makeAsyncIterator()
            while busy == 0, let item = try await items.next() {
                busy = RoutedCaller.worker(try RoutedCaller.object(item)) ?? 0
            }
            #expect(busy != 0)
            try await eventually("the other router leaves the busy worker alone") {
                try await !hearer.bestWorkers(12).contains(busy)
            }
            #expect(try await !hearer.bestWorkers(12).contains(busy), "and goes on to")
            #expect(try await items.next() != nil, "it runs still")
        }
        try await eventually(within: .seconds(60), "the request has ended for both") {
            for router in [sender, hearer] where try await !router.bestWorkers(12).contains(busy) { return false }
            return true
        }
    }
}
