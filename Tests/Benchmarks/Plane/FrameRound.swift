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
    private let way: String
    private let worker: Int32

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
    /// About what a request without a body takes on the wire.
    private static let requestSize = 500
    private static let flowCount = 300_000

    /// Measures each way once.
    ///
    /// - Parameters:
    ///   - plane: the request plane.
    ///   - loop: the same with one event loop for everything, handlers included.
    ///   - bare: bare connections.
    ///   - worker: the worker's process.
    ///   - way: only ways whose name begins with this.
    /// - Returns: the figures.
    /// - Throws: what went wrong on a connection.
    static func measure(
        _ plane: PlaneLoad,
        _ loop: PlaneLoad,
        _ bare: BareLoad,
        worker: Int32,
        way: String
    ) async throws -> FrameRound {
        var round = FrameRound(way: way, worker: worker)
        let count = Self.flowCount
        try await round.add("flow, plane", count) {
            try await plane.flow(count: count, itemSize: Self.itemSize)
        }
        try await round.add("flow, bare, each flushed", count) {
            try await bare.flow(.flowFlushed, count: count, size: Self.size)
        }
        try await round.add("flow, bare, 32 at once", count) {
            try await bare.flow(.flowJoined, count: count, size: Self.size)
        }
        for (inFlight, count) in [(1, 10_000), (64, 100_000)] {
            try await round.add("echo of \(inFlight), plane", 2 * count) {
                try await plane.echo(count: count, itemSize: Self.itemSize, inFlight: inFlight)
            }
            try await round.add("echo of \(inFlight), plane on its event loop", 2 * count) {
                try await loop.echo(count: count, itemSize: Self.itemSize, inFlight: inFlight)
            }
            try await round.add("echo of \(inFlight), bare", 2 * count) {
                try await bare.echo(count: count, size: Self.size, inFlight: inFlight)
            }
        }
        let requests = 20_000
        try await round.add("request of 64, plane", 2 * requests) { try await plane.refusals(requests, inFlight: 64) }
        try await round.add("request of 64, bare", 2 * requests) {
            try await bare.echo(count: requests, size: Self.requestSize, inFlight: 64)
        }
        return round
    }

    private mutating func add(
        _ name: String,
        _ frames: Int,
        _ body: () async throws -> Duration
    ) async throws {
        guard name.hasPrefix(self.way) else { return }
        let before = self.processorSeconds
        let elapsed = try await body()
        let processor = self.processorSeconds - before
        let nanoseconds = elapsed / .nanoseconds(1)
        let cost = Cost(elapsed: nanoseconds / Double(frames), processor: processor * 1e9 / Double(frames))
        self.figures.append((name, cost))
    }

    private var processorSeconds: Double {
        (ProcessorTime.ofTree(getpid()) ?? 0) + (ProcessorTime.ofTree(self.worker) ?? 0)
    }

    /// One line.
    var json: String {
        let members = self.figures.map { name, cost in
            #""\#(name)":{"elapsed":\#(cost.elapsed),"processor":\#(cost.processor)}"#
        }
        return "{\(members.joined(separator: ","))}"
    }
}
