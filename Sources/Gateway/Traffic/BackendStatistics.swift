package import NIOCore

/// How an exchange with a backend ended.
package struct ExchangeResult: Sendable, Hashable {
    /// Where it ended.
    package enum End: Sendable, Hashable {
        /// The backend answered with this status, to the end.
        case answered(status: Int)
        case failed(BackendFailure)
        /// The client left first.
        case clientLeft
        /// The client stopped reading, and was cut off.
        case clientStalled
        /// The connection was stale: the request goes to another one.
        case stale
    }

    package var end: End
    /// From the arrival of the request's head to the first byte of the answer; interim ones (100 Continue) are none.
    package var firstByte: TimeAmount?
    /// From the arrival of the request's head to the end.
    package var duration: TimeAmount
    /// From the arrival of the request's head until it had its place at this backend.
    package var waited = TimeAmount.zero
    /// Whether an event stream told an error, whatever its status.
    package var hasToldError = false
    /// Of an event stream: from the arrival of the request's head to the first byte of content.
    package var firstToken: TimeAmount?
    /// Of an event stream with at least ``fewestReads`` reads: the mean time from one read with content to the next.
    package var betweenTokens: TimeAmount?

    /// Reads with content that a stream must have for a mean.
    package static let fewestReads = 8

    package init(_ end: End, firstByte: TimeAmount? = nil, duration: TimeAmount = .zero) {
        self.end = end
        self.firstByte = firstByte
        self.duration = duration
    }

    /// What an end says about the backend.
    enum Health {
        case well, unknown
        /// Certainly not there, or maybe only this request failed.
        case unwell(isCertain: Bool)
    }

    var health: Health {
        switch self.end {
        case .answered: .well
        case .failed(.connect): .unwell(isCertain: true)
        case .failed(.closedBeforeHead), .failed(.malformed): .unwell(isCertain: false)
        case .failed(.cut): .unknown
        case .clientLeft, .clientStalled, .stale: .unknown
        }
    }
}

/// How a backend fails a request.
package enum BackendFailure: String, Sendable, Hashable, Codable, CaseIterable {
    /// No connection could be had.
    case connect
    /// The connection ended before the head of an answer.
    case closedBeforeHead = "closed_before_head"
    /// The answer breaks the rules of HTTP before its body.
    case malformed
    /// The answer broke off: the client has a part of it.
    case cut
}

/// What was counted of one backend in one generation.
package struct BackendStatistics: Sendable, Hashable, Codable {
    package var backend: Backend
    package var inFlight = 0
    /// Ended ones.
    package var requests = 0
    package var failures: [BackendFailure: Int] = [:]
    /// Answers with a status from 500 on.
    package var serverErrors = 0
    /// Requests whose client left first.
    package var cancelled = 0
    /// Requests whose client stopped reading the answer, and was cut off.
    package var stalled = 0
    /// Requests that had to take another connection or another backend: stale and refused connections.
    package var retries = 0
    package var ejections = 0
    package var firstByte = Histogram()
    package var duration = Histogram()

    init(_ backend: Backend) { self.backend = backend }

    /// Adds what was counted under the same name elsewhere: a backend that was removed and is back, while requests still run at it.
    mutating func add(_ other: BackendStatistics) {
        self.inFlight += other.inFlight
        self.requests += other.requests
        self.failures.merge(other.failures, uniquingKeysWith: +)
        self.serverErrors += other.serverErrors
        self.cancelled += other.cancelled
        self.stalled += other.stalled
        self.retries += other.retries
        self.ejections += other.ejections
        self.firstByte.add(other.firstByte)
        self.duration.add(other.duration)
    }

    mutating func record(_ result: ExchangeResult) {
        self.inFlight -= 1
        switch result.end {
        case .stale:
            self.retries += 1
            return
        case .failed(.connect): self.retries += 1
        default: break
        }
        self.requests += 1
        if let firstByte = result.firstByte { self.firstByte.record(firstByte) }
        switch result.end {
        case .answered(let status):
            if status >= 500 { self.serverErrors += 1 }
            self.duration.record(result.duration)
        case .failed(let failure): self.failures[failure, default: 0] += 1
        case .clientLeft: self.cancelled += 1
        case .clientStalled: self.stalled += 1
        case .stale: break
        }
    }
}

/// How often a time fell below each bound.
package struct Histogram: Sendable, Hashable, Codable {
    /// Upper bounds, in seconds.
    package static let bounds: [Double] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
    ]

    /// How many fell between the bound before and each bound; the last: above all.
    package private(set) var counts = [Int](repeating: 0, count: Self.bounds.count + 1)
    package private(set) var count = 0
    /// In seconds.
    package private(set) var sum = 0.0

    mutating func add(_ other: Histogram) {
        for index in self.counts.indices { self.counts[index] += other.counts[index] }
        self.count += other.count
        self.sum += other.sum
    }

    mutating func record(_ time: TimeAmount) {
        let seconds = Double(time.nanoseconds) / 1e9
        let index = Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count
        self.counts[index] += 1
        self.count += 1
        self.sum += seconds
    }
}

/// What was counted of backends that are gone.
struct PastStatistics {
    private static let limit = 64
    private(set) var list: [BackendStatistics] = []

    mutating func keep(_ statistics: BackendStatistics) {
        self.list.append(statistics)
        if self.list.count > Self.limit { self.list.removeFirst() }
    }

    /// What was counted before, when a process of the same name and generation is back.
    mutating func take(_ backend: Backend) -> BackendStatistics? {
        guard
            let index = self.list.firstIndex(where: {
                $0.backend.id == backend.id && $0.backend.generation == backend.generation
            })
        else { return nil }
        var statistics = self.list.remove(at: index)
        statistics.backend = backend
        return statistics
    }
}

/// What a gateway does at the moment.
package struct GatewayStatus: Sendable, Hashable, Codable {
    /// Requests that wait for a backend.
    package var heldRequests = 0
    package var heldBytes = 0
    /// Requests at backends.
    package var inFlight = 0
    /// Open connections of clients.
    package var connections = 0
    package var isDraining = false
    /// Answers of the gateway itself, by code.
    package var refusals: [String: Int] = [:]
    /// Those that may get requests first, then those that are gone.
    package var backends: [BackendStatistics] = []

    package init() {}
}
