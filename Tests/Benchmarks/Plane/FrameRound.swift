import LoadTest

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Nanoseconds for each frame and each way to move it: on the request plane, and as a message of the same size without any protocol.
struct FrameRound {
    private var figures: [(name: String, cost: Cost)] = []

    struct Cost {
        /// Between the first and the last frame.
        var elapsed: Double
        /// Processor time of both processes.
        var processor: Double
    }

    /// The JSON text of a frame around the item and the 24 bytes before it.
    private static let envelope = 24 + #"{"data":{"data":},"complete_final":false}"#.utf8.count
    private static let itemSize = 64
    private static let size = Self.envelope + Self.itemSize
    private static let flowCount = 300_000

    /// Measures each way once.
    ///
    /// - Parameters:
    ///   - plane: the request plane.
    ///   - bare: bare connections.
    ///   - worker: the worker's process.
    static func measure(_ plane: PlaneLoad, _ bare: BareLoad, worker: Int32) async throws -> FrameRound {
        var round = FrameRound()
        let count = Self.flowCount
        try await round.add("flow, plane", count, worker) {
            try await plane.flow(count: count, itemSize: Self.itemSize)
        }
        try await round.add("flow, bare, each flushed", count, worker) {
            try await bare.flow(.flowFlushed, count: count, size: Self.size)
        }
        try await round.add("flow, bare, 32 at once", count, worker) {
            try await bare.flow(.flowJoined, count: count, size: Self.size)
        }
        for (inFlight, count) in [(1, 10_000), (64, 100_000)] {
            try await round.add("echo of \(inFlight), plane", 2 * count, worker) {
                try await plane.echo(count: count, itemSize: Self.itemSize, inFlight: inFlight)
            }
            try await round.add("echo of \(inFlight), bare", 2 * count, worker) {
                try await bare.echo(count: count, size: Self.size, inFlight: inFlight)
            }
        }
        return round
    }

    private mutating func add(
        _ name: String,
        _ frames: Int,
        _ worker: Int32,
        _ body: () async throws -> Duration
    ) async throws {
        let before = Self.processorSeconds(worker)
        let elapsed = try await body()
        let processor = Self.processorSeconds(worker) - before
        self.figures.append(
            (
                name,
                Cost(elapsed: (elapsed / .nanoseconds(1)) / Double(frames), processor: processor * 1e9 / Double(frames))
            )
        )
    }

    private static func processorSeconds(_ worker: Int32) -> Double {
        (ProcessorTime.ofTree(getpid()) ?? 0) + (ProcessorTime.ofTree(worker) ?? 0)
    }

    /// One line.
    var json: String {
        let members = self.figures.map { name, cost in
            #""\#(name)":{"elapsed":\#(cost.elapsed),"processor":\#(cost.processor)}"#
        }
        return "{\(members.joined(separator: ","))}"
    }
}
