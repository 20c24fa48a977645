internal import NIOCore
internal import Synchronization

/// Counts what happens at one endpoint, without a lock.
package final class EndpointMeter: Sendable {
    private let endpoint: EndpointID
    private let instance: InstanceID
    private let requests = Atomic(0)
    private let inFlight = Atomic(0)
    private let requestBytes = Atomic(0)
    private let responseBytes = Atomic(0)
    private let items = Atomic(0)
    private let unreadable = Atomic(0)
    private let failures = Atomic(0)
    private let unreachable = Atomic(0)
    private let cancellations = Atomic(0)
    private let durations: Mutex<Durations>

    private struct Durations {
        var sum = 0.0
        var buckets = [Int](repeating: 0, count: EndpointStatistics.durationBounds.count + 1)
    }

    /// How a request ended.
    package enum Outcome: Sendable {
        case success
        /// The handler refused it or failed.
        case failure
        /// It could not be read.
        case unreadable
        /// The caller could not be called home.
        case unreachable
        case cancelled

        /// What a request counts as whose caller went away: one that had failed by then has failed, for many callers leave as soon as
        /// they have read the failure.
        package var orCancelled: Outcome { self == .failure ? .failure : .cancelled }
    }

    package init(endpoint: EndpointID, instance: InstanceID) {
        self.endpoint = endpoint
        self.instance = instance
        self.durations = Mutex(Durations())
    }

    /// A request has begun.
    package func begin(requestBytes: Int) {
        self.requests.add(1, ordering: .relaxed)
        self.inFlight.add(1, ordering: .relaxed)
        self.requestBytes.add(requestBytes, ordering: .relaxed)
    }

    /// An item was handed to the transport.
    package func sent(_ item: ResponseItem) {
        self.items.add(1, ordering: .relaxed)
        switch item {
        case .data(let payload), .bare(let payload):
            self.responseBytes.add(payload.readableBytes, ordering: .relaxed)
        case .annotation, .failure: break
        }
    }

    /// A request has ended.
    package func end(_ outcome: Outcome, after duration: Duration) {
        self.inFlight.subtract(1, ordering: .relaxed)
        switch outcome {
        case .success: break
        case .failure: self.failures.add(1, ordering: .relaxed)
        case .unreadable: self.unreadable.add(1, ordering: .relaxed)
        case .unreachable: self.unreachable.add(1, ordering: .relaxed)
        case .cancelled: self.cancellations.add(1, ordering: .relaxed)
        }
        let seconds = Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
        let bounds = EndpointStatistics.durationBounds
        let bucket = bounds.firstIndex { seconds <= $0 } ?? bounds.count
        self.durations.withLock {
            $0.sum += seconds
            $0.buckets[bucket] += 1
        }
    }

    /// What was counted until now.
    package var snapshot: EndpointStatistics {
        let durations = self.durations.withLock { $0 }
        var total = 0
        return EndpointStatistics(
            endpoint: self.endpoint,
            instance: self.instance,
            requests: self.requests.load(ordering: .relaxed),
            inFlight: self.inFlight.load(ordering: .relaxed),
            requestBytes: self.requestBytes.load(ordering: .relaxed),
            responseBytes: self.responseBytes.load(ordering: .relaxed),
            items: self.items.load(ordering: .relaxed),
            errorsByKind: [
                .deserialization: self.unreadable.load(ordering: .relaxed),
                .generate: self.failures.load(ordering: .relaxed),
                .responseStream: self.unreachable.load(ordering: .relaxed),
            ],
            cancellations: self.cancellations.load(ordering: .relaxed),
            durationSum: durations.sum,
            durationBuckets: durations.buckets.map {
                total += $0
                return total
            }
        )
    }
}
