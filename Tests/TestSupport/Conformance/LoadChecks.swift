import NIOCore
import RequestPlane

// Many requests, one after another and at once.

extension ConformanceCheck {
    static var load: [ConformanceCheck] {
        [
            ConformanceCheck("200 requests at once") { pair in
                let instance = try await pair.serve(answering { [.data($0.payload), .data($0.payload)] })
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<200 {
                        group.addTask {
                            let answer = try await pair.call("\(number)", to: instance, id: "r\(number)")
                            try requireEqual(answer, [.number(number), .number(number)], "items of r\(number)")
                        }
                    }
                    try await group.waitForAll()
                }
                try await pair.serverIsIdle()
                try requireEqual(pair.statistics.map(\.requests), [200], "counted requests")
            },
            ConformanceCheck("requests one after another leave nothing behind") { pair in
                let instance = try await pair.serve(answering { [.data($0.payload)] })
                _ = try await pair.call("0", to: instance)
                let descriptors = ConnectionCutter.descriptorCount()
                for number in 0..<1000 {
                    try requireEqual(try await pair.call("\(number)", to: instance), [.number(number)], "items")
                }
                try await pair.serverIsIdle()
                try await eventually("the descriptors are closed") {
                    ConnectionCutter.descriptorCount() <= descriptors + 4
                }
            },
            ConformanceCheck("many streams open at once", self.patient) { transport in
                let count = transport.manyStreams
                try await ConformancePair.run(on: transport, self.patient) { pair in
                    try await self.manyStreams(pair, count)
                }
            },
        ]
    }

    /// How long one of many waits for its turn is the machine's concern.
    private static let patient = ConformanceOptions(timeout: .seconds(60))

    private static func manyStreams(_ pair: ConformancePair, _ count: Int) async throws {
        let held = HeldHandler(items: 1)
        let instance = try await pair.serve(held.handler)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<count {
                group.addTask {
                    try requireEqual(try await pair.call(to: instance, id: "r\(number)"), [.number(0)], "items")
                }
            }
            try await eventually(within: .seconds(60), "\(count) streams are open") {
                if held.end.waiting == count { return true }
                // A request that has failed shows in the group, not in the count.
                return group.isCancelled
            }
            try requireEqual(pair.server.inFlight, count, "requests in flight")
            held.end.open()
            try await group.waitForAll()
        }
        try await pair.serverIsIdle()
        try requireEqual(pair.statistics.map(\.requests), [count], "counted requests")
        try requireEqual(pair.statistics.map(\.errors), [0], "counted errors")
    }
}
