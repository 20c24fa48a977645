package import KVRouter
package import Logging
import NATS

/// Feeds a router from a durable stream, and keeps the stream short with snapshots.
package struct DurableEventReader: Sendable {
    package let stream: DurableEventStream
    /// The router's instance id.
    package let router: UInt64
    /// Messages that the stream may hold before a snapshot replaces them.
    package let snapshotThreshold: UInt64
    private let logger: Logger

    package init(
        _ stream: DurableEventStream,
        router: UInt64,
        snapshotThreshold: UInt64 = 1_000_000,
        logger: Logger
    ) {
        self.stream = stream
        self.router = router
        self.snapshotThreshold = max(1, snapshotThreshold)
        self.logger = logger
    }

    /// Applies the stream's events in order, until the task is cancelled; then the router's place in the stream is given up.
    ///
    /// The snapshot is read when the router has its place already, so that no other router purges what lies between the two. A body
    /// that is no event is logged and never comes again.
    ///
    /// - Parameters:
    ///   - restore: gets the last snapshot before any event, if there is one; what it throws ends the run.
    ///   - caughtUp: called once, when everything that the stream holds was applied.
    ///   - apply: takes one event; when it returns, the event is acknowledged.
    ///   - snapshot: the state with all events that were applied.
    /// - Throws: `DurableStreamGap`, or `JetStreamError` when the consumer was lost, for example because the router was away for more than five minutes: the
    ///   router's state is then to be made anew.
    package func run(
        restore: (([UInt8]) async throws -> Void)? = nil,
        caughtUp: @escaping () -> Void = {},
        apply: (RouterEvent) async -> Void,
        snapshot: () async -> [UInt8]
    ) async throws {
        let consumer = try await self.stream.consumer(of: self.router)
        let result: Result<Void, any Error>
        do {
            if let restore, let bytes = try await self.stream.snapshot() { try await restore(bytes) }
            let isEmpty = try await consumer.info().pending == 0
            if isEmpty { caughtUp() }
            result = .success(
                try await self.read(consumer, isEmpty ? nil : caughtUp, apply: apply, snapshot: snapshot)
            )
        } catch {
            result = .failure(error)
        }
        await self.leave(consumer)
        try result.get()
    }

    private func read(
        _ consumer: JetStreamConsumer,
        _ caughtUp: (() -> Void)?,
        apply: (RouterEvent) async -> Void,
        snapshot: () async -> [UInt8]
    ) async throws {
        var caughtUp = caughtUp
        // The first message is as far behind as the stream is long.
        var lastLook: UInt64?
        var last: UInt64?
        for try await message in consumer.messages(.init(window: 200)) {
            let sequence = message.position.streamSequence
            if let last {
                // It comes again because its acknowledgement was lost: a block that was removed since must not come back.
                guard sequence > last else {
                    try message.acknowledge()
                    continue
                }
                guard sequence == last + 1 else {
                    throw DurableStreamGap(stream: self.stream.name, after: last, sequence)
                }
            }
            last = sequence
            defer {
                if message.position.pending == 0 {
                    caughtUp?()
                    caughtUp = nil
                }
            }
            do {
                await apply(try RouterEventJSON.read(message.payload))
            } catch {
                self.logger.error(
                    "ignored message \(message.position.streamSequence) of '\(self.stream.name)': \(error)"
                )
                try message.giveUp(reason: "no router event")
                continue
            }
            let base = lastLook ?? max(sequence, 1) - 1
            lastLook = base
            // Numbers only grow, so the stream cannot be above the threshold before that many have come.
            guard sequence - min(base, sequence) > self.snapshotThreshold else {
                try message.acknowledge()
                continue
            }
            try await message.acknowledgeConfirmed()
            lastLook = sequence
            await self.compact(snapshot)
        }
    }

    /// A snapshot that fails is tried again after as many events; the stream's age limit bounds it meanwhile.
    private func compact(_ snapshot: () async -> [UInt8]) async {
        do throws(JetStreamError) {
            let purged = try await self.stream.compact(above: self.snapshotThreshold, router: self.router, snapshot)
            if let purged { self.logger.info("a snapshot has replaced \(purged) events of '\(self.stream.name)'") }
        } catch {
            self.logger.warning("no snapshot of '\(self.stream.name)' was written: \(error)")
        }
    }

    private func leave(_ consumer: JetStreamConsumer) async {
        // A cancelled task cannot ask, so another one does, which is waited for.
        let logger = self.logger
        let leaving = Task {
            do throws(JetStreamError) { try await consumer.delete() } catch {
                logger.debug("the consumer '\(consumer.name)' is left to its five minutes: \(error)")
            }
        }
        await leaving.value
    }
}

/// Events of a durable stream were given out, lost on their way, and followed by others: the state is to be made anew.
package struct DurableStreamGap: Error, Hashable, CustomStringConvertible {
    package var stream: String
    /// The last event before the gap.
    package var last: UInt64
    /// The first one after it.
    package var next: UInt64

    init(stream: String, after last: UInt64, _ next: UInt64) {
        (self.stream, self.last, self.next) = (stream, last, next)
    }

    package var description: String {
        "after event \(self.last) of '\(self.stream)' came event \(self.next); those between were lost with a connection"
    }
}
