internal import NIOCore
internal import Synchronization

/// Answers one request: runs the handler and moves what it yields into the reader's buffer.
struct InProcessAnswer: Sendable {
    let request: IncomingRequest
    let endpoint: ServedEndpoint
    let buffer: ResponseBuffer

    func run() async {
        self.endpoint.meter.begin(requestBytes: self.request.payload.readableBytes)
        let start = ContinuousClock.now
        let link = Link()
        switch self.buffer.attach(link) {
        case .read: break
        case .stop: link.stopGeneration()
        case .cancel: return self.endpoint.meter.end(.cancelled, after: .zero)
        }
        let outcome = await withTaskGroup(of: EndpointMeter.Outcome.self) { group in
            group.addTask {
                let outcome = await self.produce(link)
                link.end(wasCancelled: false)
                return outcome
            }
            await link.waitUntilOver()
            group.cancelAll()
            return await group.next() ?? .failure
        }
        self.endpoint.meter.end(link.wasCancelled ? outcome.orCancelled : outcome, after: ContinuousClock.now - start)
    }

    private static let givenUp = PlaneFailure(.streamEndedEarly, "the server gave up the request")

    private func produce(_ link: Link) async -> EndpointMeter.Outcome {
        // As between processes, where an empty payload is not JSON.
        guard self.request.payload.readableBytes > 0 else {
            self.buffer.finish(PlaneFailure(.remote, "the worker refused the request: the request has no body"))
            return .failure
        }
        let items: any AsyncSequence<ResponseItem, any Error> & Sendable
        do { items = try await self.endpoint.handler(self.request) } catch {
            if Task.isCancelled {
                self.buffer.finish(Self.givenUp)
                return .cancelled
            }
            self.buffer.finish(PlaneFailure(refusal: "\(error)", error as? RemoteError))
            return .failure
        }
        self.buffer.accept()
        let outcome = await self.pull(items, link)
        if link.isStopped {
            self.buffer.finish(nil)
        } else if Task.isCancelled {
            self.buffer.finish(Self.givenUp)
        } else {
            self.buffer.finish(nil)
        }
        return outcome
    }

    private func pull(
        _ items: some AsyncSequence<ResponseItem, any Error> & Sendable,
        _ link: Link
    ) async -> EndpointMeter.Outcome {
        var outcome = EndpointMeter.Outcome.success
        do {
            for try await item in items {
                if case .failure = item { outcome = .failure }
                self.endpoint.meter.sent(item)
                switch self.buffer.yield([item.asRead]) {
                case .more: break
                case .wait: await link.waitForDemand()
                case .gone: return .cancelled
                }
                if Task.isCancelled { break }
            }
        } catch {
            if Task.isCancelled { return .cancelled }
            let failure = error as? RemoteError ?? RemoteError(kind: .unknown, message: "\(error)")
            _ = self.buffer.yield([.failure(failure)])
            outcome = .failure
        }
        return outcome
    }
}

extension ResponseItem {
    /// The item as a reader in another process would get it: no payload is `null`.
    fileprivate var asRead: ResponseItem {
        if case .data(let payload) = self, payload.readableBytes == 0 { .data(.jsonNull) } else { self }
    }
}

// MARK: - The reader's wishes

extension InProcessAnswer {
    private final class Link: ResponseProducer {
        private let state = Mutex(State())

        private struct State {
            var isOver = false
            var isStopped = false
            var wasCancelled = false
            var hasDemand = false
            var observer: CheckedContinuation<Void, Never>?
            var producer: CheckedContinuation<Void, Never>?
        }

        var isStopped: Bool { self.state.withLock { $0.isStopped } }

        var wasCancelled: Bool { self.state.withLock { $0.wasCancelled } }

        func produceMore() {
            self.state.withLock { state -> CheckedContinuation<Void, Never>? in
                guard let producer = state.producer else {
                    state.hasDemand = true
                    return nil
                }
                state.producer = nil
                return producer
            }?.resume()
        }

        func cancelGeneration() { self.end(wasCancelled: true) }

        func stopGeneration() {
            self.state.withLock { $0.isStopped = true }
            self.end(wasCancelled: true)
        }

        func end(wasCancelled: Bool) {
            let (observer, producer) = self.state.withLock { state in
                if wasCancelled, !state.isOver { state.wasCancelled = true }
                state.isOver = true
                defer {
                    state.observer = nil
                    state.producer = nil
                }
                return (state.observer, state.producer)
            }
            observer?.resume()
            producer?.resume()
        }

        func waitUntilOver() async {
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let isOver = self.state.withLock { state in
                        if !state.isOver { state.observer = continuation }
                        return state.isOver
                    }
                    if isOver { continuation.resume() }
                }
            } onCancel: {
                self.end(wasCancelled: true)
            }
        }

        func waitForDemand() async {
            await withCheckedContinuation { continuation in
                let goOn = self.state.withLock { state in
                    if state.isOver || state.hasDemand {
                        state.hasDemand = false
                        return true
                    }
                    state.producer = continuation
                    return false
                }
                if goOn { continuation.resume() }
            }
        }
    }
}
