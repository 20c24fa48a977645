internal import NIOCore

/// The state of a `ResponseBuffer`: items in order, at most one waiting reader, and how the answer ended.
///
/// Invariants: a reader waits only while nothing is queued and nothing has ended; a producer waits only while something is queued.
struct ResponseBufferState {
    typealias Waiter = CheckedContinuation<Outcome, Never>
    typealias Acceptance = CheckedContinuation<Result<Void, PlaneFailure>, Never>

    private let highMark: Int
    private let lowMark: Int
    private var phase = Phase.waiting
    private var queue = CircularBuffer<ResponseItem>()
    private var queuedBytes = 0
    private var producer: (any ResponseProducer)?
    private var producerWaits = false
    private var stopWanted = false
    private var acceptance: Acceptance?
    private var waiter: Waiter?

    static let cancelledFailure = PlaneFailure(.cancelled, "the caller cancelled the request")

    enum Phase {
        case waiting
        case accepted
        case ended(PlaneFailure?)
        case cancelled
    }

    enum Outcome: Sendable {
        case item(ResponseItem)
        case end
        case failure(PlaneFailure)
    }

    /// A continuation with its value; run it outside of the lock.
    struct Delivery {
        var waiter: Waiter
        var outcome: Outcome
        var producer: (any ResponseProducer)?
        func run() {
            self.waiter.resume(returning: self.outcome)
            self.producer?.produceMore()
        }
    }

    enum Next {
        case ready(Outcome, (any ResponseProducer)?)
        case wait
    }

    struct Cancellation {
        var acceptance: Acceptance?
        var delivery: Delivery?
        var producer: (any ResponseProducer)?
    }

    init(highMark: Int, lowMark: Int) {
        self.highMark = highMark
        self.lowMark = lowMark
    }

    var isCancelled: Bool {
        if case .cancelled = self.phase { true } else { false }
    }
}

// MARK: - Producer

extension ResponseBufferState {
    mutating func attach(_ producer: any ResponseProducer) -> ResponseBuffer.Wish {
        switch self.phase {
        case .cancelled, .ended: return .cancel
        case .waiting, .accepted:
            self.producer = producer
            return self.stopWanted ? .stop : .read
        }
    }

    mutating func accept() -> Acceptance? {
        guard case .waiting = self.phase else { return nil }
        self.phase = .accepted
        defer { self.acceptance = nil }
        return self.acceptance
    }

    mutating func yield(_ items: [ResponseItem]) -> (ResponseBuffer.Demand, Delivery?) {
        switch self.phase {
        case .cancelled, .ended: return (.gone, nil)
        case .waiting, .accepted: break
        }
        for item in items {
            self.queue.append(item)
            self.queuedBytes += Self.cost(item)
        }
        var delivery: Delivery?
        if let waiter = self.waiter, let first = self.queue.popFirst() {
            self.queuedBytes -= Self.cost(first)
            self.waiter = nil
            delivery = Delivery(waiter: waiter, outcome: .item(first))
        }
        // Once told to wait, a producer waits until it is told to go on, even if it still had something to yield.
        if self.queuedBytes >= self.highMark { self.producerWaits = true }
        return (self.producerWaits ? .wait : .more, delivery)
    }

    mutating func finish(_ failure: PlaneFailure?) -> (Acceptance?, Delivery?, (any ResponseProducer)?)? {
        switch self.phase {
        case .cancelled, .ended: return nil
        case .waiting, .accepted: break
        }
        self.phase = .ended(failure)
        self.producerWaits = false
        defer {
            self.acceptance = nil
            self.waiter = nil
            self.producer = nil
        }
        return (
            self.acceptance, self.waiter.map { Delivery(waiter: $0, outcome: failure.map(Outcome.failure) ?? .end) },
            self.producer
        )
    }
}

// MARK: - Reader

extension ResponseBufferState {
    /// Returns the answer when it is known, else keeps the continuation.
    mutating func waitUntilAccepted(_ continuation: Acceptance) -> Result<Void, PlaneFailure>? {
        switch self.phase {
        case .waiting:
            self.acceptance = continuation
            return nil
        case .accepted: return .success(())
        case .ended(let failure): return failure.map(Result.failure) ?? .success(())
        case .cancelled: return .failure(Self.cancelledFailure)
        }
    }

    mutating func takeNext() -> Next {
        if case .cancelled = self.phase { return .ready(.failure(Self.cancelledFailure), nil) }
        if let item = self.queue.popFirst() {
            self.queuedBytes -= Self.cost(item)
            guard self.producerWaits, self.queuedBytes <= self.lowMark else { return .ready(.item(item), nil) }
            self.producerWaits = false
            return .ready(.item(item), self.producer)
        }
        guard case .ended(let failure) = self.phase else { return .wait }
        return .ready(failure.map(Outcome.failure) ?? .end, nil)
    }

    /// An item that is there already; nil also when the answer has ended.
    mutating func takeQueued() -> (ResponseItem, (any ResponseProducer)?)? {
        guard !self.queue.isEmpty, case .ready(.item(let item), let producer) = self.takeNext() else { return nil }
        return (item, producer)
    }

    /// Keeps the continuation, unless something has come in between or another reader waits.
    mutating func wait(_ waiter: Waiter) -> Delivery? {
        guard self.waiter == nil else {
            let failure = PlaneFailure(
                .protocolViolation,
                "a response stream has one reader; two have asked for an item"
            )
            return Delivery(waiter: waiter, outcome: .failure(failure))
        }
        switch self.takeNext() {
        case .ready(let outcome, let producer): return Delivery(waiter: waiter, outcome: outcome, producer: producer)
        case .wait:
            self.waiter = waiter
            return nil
        }
    }

    mutating func cancel() -> Cancellation? {
        switch self.phase {
        case .cancelled, .ended: return nil
        case .waiting, .accepted: break
        }
        self.phase = .cancelled
        self.queue.removeAll()
        self.queuedBytes = 0
        defer {
            self.acceptance = nil
            self.waiter = nil
            self.producer = nil
        }
        return Cancellation(
            acceptance: self.acceptance,
            delivery: self.waiter.map { Delivery(waiter: $0, outcome: .failure(Self.cancelledFailure)) },
            producer: self.producer
        )
    }

    mutating func stop() -> (any ResponseProducer)? {
        switch self.phase {
        case .cancelled, .ended: return nil
        case .waiting, .accepted: break
        }
        guard !self.stopWanted else { return nil }
        self.stopWanted = true
        return self.producer
    }

    /// Small items cost more than their bytes.
    private static func cost(_ item: ResponseItem) -> Int {
        switch item {
        case .data(let payload), .bare(let payload): payload.readableBytes + 64
        case .annotation, .failure: 256
        }
    }
}
