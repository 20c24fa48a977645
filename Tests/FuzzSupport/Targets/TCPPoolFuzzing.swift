import NIOCore
import RequestPlane
import RequestPlaneTransports

/// Any order of requests, connections that open, fill, fail and close, and time that passes.
enum TCPPoolFuzzing {
    static let seeds: [[UInt8]] = [
        // Opened, used, filled, freed, closed.
        [2, 9, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 3, 3, 0],
        // Failing again and again, with waits between.
        [3, 0] + [0, 0, 4, 0, 0, 0, 5, 60, 0, 0, 4, 0, 5, 130, 0, 0, 4, 0, 5, 255],
        // Many at once; one of two attempts fails while the other goes on.
        [1, 1, 0, 200, 0, 200, 4, 0, 0, 9, 1, 1, 0, 9, 3, 0, 3, 1, 0, 1, 5, 255, 0, 1],
    ]

    static func operations(_ bytes: [UInt8], _ random: inout FuzzRandom) throws {
        let limit = 1 + Int(bytes.first ?? 0) % 5
        let capacity = 1 + Int(bytes.dropFirst().first ?? 0) % 10
        var model = Model(limit: limit, capacity: capacity)
        for start in stride(from: 2, to: bytes.count - 1, by: 2) {
            try model.perform(bytes[start] % 6, Int(bytes[start + 1]))
            try model.check()
        }
        try model.mustRecover()
    }

    /// The machine, and beside it what is known of its connections.
    private struct Model {
        private let limit: Int
        private let capacity: Int
        private var state: TCPPoolState
        private var now = NIODeadline.uptimeNanoseconds(1_000_000_000)
        private var open: [TCPPoolState.ConnectionID: Phase] = [:]
        private var used: Set<TCPPoolState.ConnectionID> = []
        /// Whether an attempt has failed since the last one that did not.
        private var isPenaltyPossible = false

        /// Longer than any penalty.
        private static let recovery = TimeAmount.seconds(1)

        private enum Phase { case connecting, ready, busy }

        init(limit: Int, capacity: Int) {
            self.limit = limit
            self.capacity = capacity
            self.state = TCPPoolState(limit: limit, capacity: capacity)
        }

        mutating func perform(_ operation: UInt8, _ argument: Int) throws {
            switch operation {
            case 0: try self.place(waiting: 1 + argument)
            case 1, 2: self.update(argument, isReady: operation == 1)
            case 3: self.close(argument)
            case 4: try self.fail(argument)
            default: self.now = self.now + .milliseconds(Int64(argument) * 5)
            }
        }

        func check() throws {
            try hold(self.open.count <= self.limit, "\(self.open.count) connections, the limit is \(self.limit)")
            try hold(self.state.isEmpty == self.open.isEmpty, "the pool miscounts its connections")
        }

        /// After a while without events no request is refused, and without any connection one is opened.
        mutating func mustRecover() throws {
            self.now = self.now + Self.recovery
            let wasEmpty = self.open.isEmpty
            switch try self.place(waiting: 1) {
            case .connect: break
            case .use, .wait(nil): try hold(!wasEmpty, "a request waits for nobody")
            case .wait, .fail: throw FuzzViolation("a penalty does not end")
            }
            try self.check()
        }

        @discardableResult
        private mutating func place(waiting: Int) throws -> TCPPoolState.Placement {
            let placement = self.state.place(waiting: waiting, now: self.now)
            let hasReady = self.open.values.contains(.ready)
            let connecting = self.open.values.count { $0 == .connecting }
            if case .use = placement {} else { try hold(!hasReady, "a ready connection is not used") }
            switch placement {
            case .use(let id): try hold(self.open[id] == .ready, "a connection is used that is not ready")
            case .connect(let id):
                try hold(self.used.insert(id).inserted, "a number is given twice")
                try hold(self.open.count < self.limit, "more connections than the limit")
                try hold(connecting * self.capacity < waiting, "a connection that nobody needs")
                self.open[id] = .connecting
            case .wait(nil):
                try hold(
                    self.open.count == self.limit || connecting * self.capacity >= waiting,
                    "a request waits although a connection may be opened"
                )
            case .wait(let until?):
                try hold(!self.open.isEmpty && self.isPenaltyPossible, "a request waits without a reason")
                try hold(until > self.now && until <= self.now + Self.recovery, "a wait that is over, or too long")
            case .fail: try hold(self.open.isEmpty && self.isPenaltyPossible, "a request fails without a reason")
            }
            // Asking changes nothing else.
            guard case .connect = placement else {
                try hold(self.state.place(waiting: waiting, now: self.now) == placement, "asked again, another answer")
                return placement
            }
            return placement
        }

        /// A connection that is open, or sometimes one that is not there any more.
        private func pick(_ argument: Int) -> TCPPoolState.ConnectionID {
            let ids = self.open.keys.sorted()
            return ids.isEmpty || argument >= 240 ? argument - 200 : ids[argument % ids.count]
        }

        private mutating func update(_ argument: Int, isReady: Bool) {
            let id = self.pick(argument)
            self.state.update(id, isReady: isReady)
            guard let phase = self.open[id] else { return }
            if phase == .connecting { self.isPenaltyPossible = false }
            self.open[id] = isReady ? .ready : .busy
        }

        private mutating func close(_ argument: Int) {
            let id = self.pick(argument)
            self.state.closed(id)
            self.open[id] = nil
        }

        /// Only attempts fail.
        private mutating func fail(_ argument: Int) throws {
            let id = self.pick(argument)
            guard self.open[id] == .connecting else { return }
            self.open[id] = nil
            self.isPenaltyPossible = true
            let isLast = self.state.failed(id, PlaneFailure(.connectFailed, "\(id)"), now: self.now)
            try hold(isLast == self.open.isEmpty, "those who wait are told the wrong thing")
        }
    }
}
