import NIOCore
import NIOPosix
import RequestPlane
import Synchronization

/// A worker's connection to the caller of one request: writes the answer as fast as the caller reads, and hears `stop` and `kill`.
///
/// The request's task writes; the event loop reads, flushes and closes. Both go through one lock around the state machine. Frames
/// that are written while the event loop is busy leave in one piece.
final class CallHome: Sendable {
    private let state: Mutex<State>
    private let channel: any Channel

    /// Bytes that may wait for the event loop before the writer must.
    private static let outboxLimit = 64 * 1024

    /// How long the caller may take to close after the sentinel.
    static let lingerTimeout = TimeAmount.seconds(10)

    private struct State {
        var machine = ResponseStreamSender()
        var outbox = ByteBuffer()
        var isFlushScheduled = false
        var isWritable = true
        var isOver = false
        var cancellation: ResponseStreamSender.Cancellation?
        var writer: CheckedContinuation<Void, Never>?
        var observers: [CheckedContinuation<Void, Never>] = []

        var mustWait: Bool {
            !self.isOver && (!self.isWritable || self.outbox.readableBytes >= CallHome.outboxLimit)
        }
    }

    init(channel: any Channel) {
        self.channel = channel
        self.state = Mutex(State())
    }

    /// What drives the connection.
    var eventLoop: any EventLoop { self.channel.eventLoop }

    /// Why the caller does not want the answer any more, if so.
    var cancellation: ResponseStreamSender.Cancellation? { self.state.withLock { $0.cancellation } }

    // MARK: Request's task

    /// Returns when there is nothing left to answer: the answer is complete, or the caller does not want it any more.
    func waitUntilOver() async {
        await withCheckedContinuation { continuation in
            let isOver = self.state.withLock { state in
                if !state.isOver { state.observers.append(continuation) }
                return state.isOver
            }
            if isOver { continuation.resume() }
        }
    }

    /// Tells the caller that its request was accepted.
    func accept() {
        self.append { state in
            guard state.machine.accept() else { return false }
            state.outbox.writeImmutableBuffer(Prologue.accepted.encoded)
            return true
        }
    }

    /// Writes an item; returns when the caller can take another one.
    ///
    /// - Parameter item: what to write.
    /// - Returns: false when the caller does not want any more. A writer that went on then would never suspend, and so could keep the
    ///   task from running that is about to cancel it.
    func write(_ item: ResponseItem) async -> Bool {
        var isWanted = false
        let mustWait = self.append { state in
            isWanted = state.machine.isStreaming
            if isWanted { state.outbox.writeItemFrame(item) }
            return isWanted
        }
        if mustWait { await self.waitUntilWritable() }
        return isWanted
    }

    /// Refuses the request; returns when that was written.
    func refuse(_ error: RemoteError) async {
        self.append { state in
            guard state.machine.refuse() else { return false }
            state.outbox.writeImmutableBuffer(Prologue.refused(error.description, error).encoded)
            state.outbox.writeImmutableBuffer(ControlFrame.sentinel.encoded)
            return true
        }
        await self.waitUntilOver()
    }

    /// Ends the answer as complete; returns when that was written.
    func finish() async {
        self.append { state in
            guard state.machine.finish() else { return false }
            state.outbox.writeFinalFrame()
            state.outbox.writeImmutableBuffer(ControlFrame.sentinel.encoded)
            return true
        }
        await self.waitUntilOver()
    }

    /// Gives up without a final frame, so that the caller sees that the answer is not complete.
    ///
    /// Does nothing when it is.
    func abort() {
        self.perform(
            self.state.withLock { state in
                state.isOver ? nil : state.machine.connectionClosed("this server gave up the request")
            }
        )
    }

    @discardableResult
    private func append(_ body: (inout State) -> Bool) -> Bool {
        let (mustSchedule, mustWait) = self.state.withLock { state -> (Bool, Bool) in
            guard body(&state) else { return (false, false) }
            let mustSchedule = !state.isFlushScheduled
            state.isFlushScheduled = true
            return (mustSchedule, state.mustWait)
        }
        if mustSchedule { self.channel.eventLoop.execute { self.flush() } }
        return mustWait
    }

    private func waitUntilWritable() async {
        await withCheckedContinuation { continuation in
            let goOn = self.state.withLock { state in
                if state.mustWait { state.writer = continuation }
                return !state.mustWait
            }
            if goOn { continuation.resume() }
        }
    }

    // MARK: Event loop

    private func flush() {
        let (bytes, isLast) = self.state.withLock { state in
            state.isFlushScheduled = false
            let bytes = state.outbox
            state.outbox = ByteBuffer()
            return (bytes, state.machine.hasEnded)
        }
        guard bytes.readableBytes > 0 else { return }
        if isLast {
            self.channel.writeAndFlush(bytes).whenComplete { _ in self.lastFrameWritten() }
        } else {
            self.channel.writeAndFlush(bytes, promise: nil)
            self.writabilityChanged(self.channel.isWritable)
        }
    }

    private func lastFrameWritten() {
        let action = self.state.withLock { $0.machine.lastFrameWritten() }
        self.end(nil)
        guard action == nil else { return self.perform(action) }
        let timeout = self.channel.eventLoop.scheduleTask(in: Self.lingerTimeout) { self.channel.close(promise: nil) }
        self.channel.closeFuture.whenComplete { _ in timeout.cancel() }
    }

    func writabilityChanged(_ isWritable: Bool) {
        let writer = self.state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.isWritable = isWritable
            guard !state.mustWait else { return nil }
            defer { state.writer = nil }
            return state.writer
        }
        writer?.resume()
    }

    func received(_ bytes: ByteBuffer) { self.perform(self.state.withLock { $0.machine.receive(bytes) }) }

    func inputClosed() { self.perform(self.state.withLock { $0.machine.inputClosed() }) }

    func connectionClosed(_ reason: String) {
        self.perform(self.state.withLock { $0.machine.connectionClosed(reason) })
    }

    private func perform(_ action: ResponseStreamSender.Action?) {
        switch action {
        case .cancel(let reason):
            self.end(reason)
            self.channel.close(promise: nil)
        case .probe:
            var frame = ByteBuffer()
            frame.writeTwoPartMessage(TwoPartMessage())
            self.channel.writeAndFlush(frame, promise: nil)
        case .close:
            self.end(nil)
            self.channel.close(promise: nil)
        case nil: break
        }
    }

    private func end(_ reason: ResponseStreamSender.Cancellation?) {
        let (writer, observers) = self.state.withLock { state in
            if !state.isOver { state.cancellation = reason }
            state.isOver = true
            state.outbox = ByteBuffer()
            defer {
                state.writer = nil
                state.observers = []
            }
            return (state.writer, state.observers)
        }
        writer?.resume()
        for observer in observers { observer.resume() }
    }
}
