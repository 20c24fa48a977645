internal import Synchronization

/// What produces the items of an answer: a connection to a worker, or a handler in the same process.
package protocol ResponseProducer: AnyObject, Sendable {
    /// The reader has caught up: produce again after `Demand.wait`.
    func produceMore()
    /// The reader is gone: cancel the generation.
    func cancelGeneration()
    /// The reader wants a graceful, early end.
    func stopGeneration()
}

/// Carries one answer from its producer to its only reader, and the reader's demand back.
///
/// It holds little: above the high mark the producer must wait. It outlives neither side: when the reader goes, the producer is told, and
/// what it yields afterwards is dropped.
package final class ResponseBuffer: Sendable {
    private let state: Mutex<ResponseBufferState>
    private let onEnd: @Sendable () -> Void

    /// What a producer does after it has yielded.
    package enum Demand: Hashable, Sendable {
        case more
        /// The reader is slow: wait for `produceMore()`.
        case wait
        /// The reader is gone: give up.
        case gone
    }

    /// What the reader wanted before there was a producer.
    package enum Wish: Hashable, Sendable {
        case read
        case stop
        case cancel
    }

    /// Creates an empty buffer.
    ///
    /// - Parameters:
    ///   - highMark: bytes at which the producer must wait.
    ///   - lowMark: bytes at which it may go on.
    ///   - onEnd: called once, when the producer has finished or the reader has cancelled.
    package init(
        highMark: Int = 64 * 1024,
        lowMark: Int = 16 * 1024,
        onEnd: @escaping @Sendable () -> Void = {}
    ) {
        self.onEnd = onEnd
        self.state = Mutex(ResponseBufferState(highMark: highMark, lowMark: lowMark))
    }

    // MARK: Producer

    /// Connects the producer; call once.
    package func attach(_ producer: any ResponseProducer) -> Wish { self.state.withLock { $0.attach(producer) } }

    /// The worker has accepted the request.
    package func accept() { self.state.withLock { $0.accept() }?.resume(returning: .success(())) }

    /// Hands items to the reader.
    package func yield(_ items: [ResponseItem]) -> Demand {
        let (demand, delivery) = self.state.withLock { $0.yield(items) }
        delivery?.run()
        return demand
    }

    /// Ends the answer: nil is success.
    ///
    /// What was yielded before is still read.
    package func finish(_ failure: PlaneFailure?) { _ = self.end(failure) }

    /// Ends the answer although its producer has not: the producer is told to give up.
    package func abandon(_ failure: PlaneFailure) { self.end(failure)?.cancelGeneration() }

    /// Returns the producer, if it did not know that the answer has ended.
    private func end(_ failure: PlaneFailure?) -> (any ResponseProducer)? {
        guard let (acceptance, delivery, producer) = self.state.withLock({ $0.finish(failure) }) else { return nil }
        if let failure {
            acceptance?.resume(returning: .failure(failure))
        } else {
            acceptance?.resume(returning: .success(()))
        }
        delivery?.run()
        self.onEnd()
        return producer
    }

    // MARK: Reader

    /// Waits until the worker has accepted the request.
    ///
    /// - Throws: the reason when it has not.
    package func waitUntilAccepted() async throws(RequestPlaneError) {
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: ResponseBufferState.Acceptance) in
                let known = self.state.withLock { $0.waitUntilAccepted(continuation) }
                if let known { continuation.resume(returning: known) }
            }
        } onCancel: {
            self.cancel()
        }
        if case .failure(let failure) = result { throw failure.error }
    }

    /// The next item; nil after the last one of a complete answer.
    ///
    /// - Returns: an item, or nil.
    /// - Throws: the reason when the answer is not complete.
    package func next() async throws(RequestPlaneError) -> ResponseItem? {
        let immediate = self.state.withLock { $0.takeNext() }
        let delivered: ResponseBufferState.Outcome
        switch immediate {
        case .ready(let outcome, let producer):
            producer?.produceMore()
            delivered = outcome
        case .wait:
            delivered = await withTaskCancellationHandler {
                await withCheckedContinuation { (continuation: ResponseBufferState.Waiter) in
                    let delivery = self.state.withLock { $0.wait(continuation) }
                    delivery?.run()
                }
            } onCancel: {
                self.cancel()
            }
        }
        switch delivered {
        case .item(let item): return item
        case .end: return nil
        case .failure(let failure): throw failure.error
        }
    }

    /// The next item if it is there already; nil says nothing about the end.
    package func nextQueued() -> ResponseItem? {
        guard let (item, producer) = self.state.withLock({ $0.takeQueued() }) else { return nil }
        producer?.produceMore()
        return item
    }

    /// The reader is gone; does nothing when the answer is complete.
    package func cancel() {
        guard let cancellation = self.state.withLock({ $0.cancel() }) else { return }
        cancellation.acceptance?.resume(returning: .failure(ResponseBufferState.cancelledFailure))
        cancellation.delivery?.run()
        cancellation.producer?.cancelGeneration()
        self.onEnd()
    }

    /// Asks for a graceful, early end; the answer then ends normally.
    package func stop() { self.state.withLock { $0.stop() }?.stopGeneration() }

    /// Whether the reader has cancelled.
    package var isCancelled: Bool { self.state.withLock { $0.isCancelled } }
}
