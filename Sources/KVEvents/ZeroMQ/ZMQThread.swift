import Glibc
import NATS
import NIOCore
import Synchronization

/// A thread that owns ZeroMQ sockets: libzmq's sockets belong to one thread each, and waiting for them blocks it.
///
/// Whoever uses a socket posts what it wants; handlers are called on the thread, one after the other, so that a handler
/// which is slow makes the library hold messages, up to the socket's bound, and nothing else. The thread lives until
/// `shutdown()`.
package final class ZMQThread: Sendable {
    package typealias Handler = @Sendable (ZMQSocketEvent) -> Void

    enum Command: Sendable {
        case open(UInt64, ZMQSocketOptions, @Sendable (Result<String, ZMQError>) -> Void, Handler)
        case send(UInt64, [ByteBuffer])
        case timer(ContinuousClock.Instant, @Sendable () -> Void)
        case close(UInt64)
        case end
    }

    struct State {
        var commands: [Command] = []
        var queued: [UInt64: Int] = [:]
        var lastNumber: UInt64 = 0
        var isOver = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    let state = Mutex(State())
    let wakeUp: WakeUp

    /// Starts the thread.
    ///
    /// - Throws: `ZMQError` when the system has no thread or descriptor left.
    package init() throws(ZMQError) {
        do throws(NATSError) { self.wakeUp = try WakeUp() } catch { throw ZMQError(.exhausted, error.message) }
        try self.start()
    }

    private func start() throws(ZMQError) {
        let reference = Unmanaged.passRetained(self)
        var thread = pthread_t()
        let result = pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                let owner = Unmanaged<ZMQThread>.fromOpaque(argument).takeRetainedValue()
                ZMQLoop.run(owner)
                return nil
            },
            reference.toOpaque()
        )
        guard result == 0 else {
            reference.release()
            throw ZMQError(
                .exhausted,
                "cannot start a thread for ZeroMQ (error \(result)); raise the limit of threads (ulimit -u)"
            )
        }
        pthread_detach(thread)
    }

    // MARK: Use

    /// Opens a socket; what it has to tell comes after the completion was called.
    ///
    /// - Parameters:
    ///   - options: what it is.
    ///   - completion: called once on the thread, with the endpoint as it really is.
    ///   - handler: called on the thread; it must not block.
    /// - Returns: the socket, which can be used at once.
    package func open(
        _ options: ZMQSocketOptions,
        completion: @escaping @Sendable (Result<String, ZMQError>) -> Void,
        handler: @escaping Handler
    ) -> ZMQSocket {
        let number = self.state.withLock { state in
            state.lastNumber += 1
            return state.lastNumber
        }
        if !self.post(.open(number, options, completion, handler)) { completion(.failure(Self.closed)) }
        return ZMQSocket(number: number, thread: self, maximumQueued: options.maximumQueuedMessages)
    }

    /// Opens a socket and waits until that is done, which takes no network.
    ///
    /// - Parameters:
    ///   - options: what it is.
    ///   - handler: called on the thread; it must not block.
    /// - Returns: the socket and its endpoint as it really is.
    /// - Throws: `ZMQError` when the endpoint is not valid or taken.
    package func open(
        _ options: ZMQSocketOptions,
        handler: @escaping Handler
    ) async throws(ZMQError) -> (socket: ZMQSocket, endpoint: String) {
        let opened: (ZMQSocket, Result<String, ZMQError>) = await withCheckedContinuation { continuation in
            let box = OpenedSocket(continuation)
            let socket = self.open(options, completion: { box.set(result: $0) }, handler: handler)
            box.set(socket: socket)
        }
        return (opened.0, try opened.1.get())
    }

    /// Calls back on the thread, no earlier than after a time; never after the end.
    package func schedule(after delay: Duration, _ body: @escaping @Sendable () -> Void) {
        self.post(.timer(.now + delay, body))
    }

    /// Closes every socket and returns when nothing of the thread is left; what was not yet sent is lost.
    package func shutdown() async {
        self.post(.end)
        await withCheckedContinuation { continuation in
            let isOver = self.state.withLock { state in
                if !state.isOver { state.waiters.append(continuation) }
                return state.isOver
            }
            if isOver { continuation.resume() }
        }
    }

    // MARK: Commands

    static let closed = ZMQError(.closed, "the ZeroMQ sockets of this process are closed")

    /// Gives the thread something to do.
    ///
    /// - Returns: false after the end.
    @discardableResult
    func post(_ command: Command) -> Bool {
        let (isOver, wakes) = self.state.withLock { state in
            if state.isOver { return (true, false) }
            state.commands.append(command)
            return (false, state.commands.count == 1)
        }
        if wakes { self.wakeUp.signal() }
        return !isOver
    }

    func send(_ frames: [ByteBuffer], _ number: UInt64, maximumQueued: Int) throws(ZMQError) {
        let (error, wakes) = self.state.withLock { state -> (ZMQError?, Bool) in
            if state.isOver { return (Self.closed, false) }
            let queued = state.queued[number, default: 0]
            guard queued < maximumQueued else {
                return (ZMQError(.overloaded, "\(queued) messages wait for a ZeroMQ socket; it takes no more"), false)
            }
            state.queued[number] = queued + 1
            state.commands.append(.send(number, frames))
            return (nil, state.commands.count == 1)
        }
        if wakes { self.wakeUp.signal() }
        if let error { throw error }
    }
}

/// Joins the handle of a socket, known at once, with how opening it went.
private final class OpenedSocket: Sendable {
    private struct Parts {
        var socket: ZMQSocket?
        var result: Result<String, ZMQError>?
        var continuation: CheckedContinuation<(ZMQSocket, Result<String, ZMQError>), Never>?
    }

    private let parts: Mutex<Parts>

    init(_ continuation: CheckedContinuation<(ZMQSocket, Result<String, ZMQError>), Never>) {
        self.parts = Mutex(Parts(continuation: continuation))
    }

    func set(socket: ZMQSocket) { self.update { $0.socket = socket } }

    func set(result: Result<String, ZMQError>) { self.update { $0.result = result } }

    private func update(_ body: (inout Parts) -> Void) {
        let parts = self.parts.withLock { parts -> Parts? in
            body(&parts)
            guard parts.socket != nil, parts.result != nil else { return nil }
            return parts
        }
        guard let parts, let socket = parts.socket, let result = parts.result else { return }
        parts.continuation?.resume(returning: (socket, result))
    }
}
