import NATS
import NIOCore
import Synchronization

/// What a `ZMQThread` runs: the place of all sockets and of the library's context.
final class ZMQLoop {
    private let owner: ZMQThread
    private let context: LibZMQ.Context
    private var sockets: [UInt64: Entry] = [:]
    private var timers: [Timer] = []
    private var isEnding = false

    private struct Entry {
        let native: LibZMQ.Socket
        let handler: ZMQThread.Handler
    }

    private struct Timer {
        let due: ContinuousClock.Instant
        let body: @Sendable () -> Void
    }

    /// Messages that one socket hands out before the others have their turn.
    private static let budget = 256

    private init(_ owner: ZMQThread) throws(ZMQError) {
        self.owner = owner
        self.context = try LibZMQ.Context()
    }

    /// Serves until the end and leaves nothing behind.
    static func run(_ owner: ZMQThread) {
        // First everything of the library goes, then those who wait for the end are told.
        let error = Self.serve(owner)
        Self.finish(owner, error)
    }

    private static func serve(_ owner: ZMQThread) -> ZMQError {
        do throws(ZMQError) {
            let loop = try ZMQLoop(owner)
            while !loop.isEnding { loop.turn() }
            loop.sockets = [:]
            return ZMQThread.closed
        } catch {
            return error
        }
    }

    private static func finish(_ owner: ZMQThread, _ error: ZMQError) {
        let (commands, waiters) = owner.state.withLock { state in
            state.isOver = true
            defer {
                state.commands = []
                state.waiters = []
                state.queued = [:]
            }
            return (state.commands, state.waiters)
        }
        for case .open(_, _, let completion, _) in commands { completion(.failure(error)) }
        for waiter in waiters { waiter.resume() }
    }

    private func turn() {
        self.takeCommands()
        guard !self.isEnding else { return }
        self.fireTimers()
        let numbers = Array(self.sockets.keys)
        let natives = numbers.compactMap { self.sockets[$0]?.native }
        let readable = LibZMQ.poll(natives, descriptor: self.owner.wakeUp.readEnd, milliseconds: self.timeout())
        self.owner.wakeUp.clear()
        for (number, isReadable) in zip(numbers, readable) where isReadable { self.read(number) }
    }

    private func timeout() -> Int {
        guard let due = self.timers.map(\.due).min() else { return -1 }
        let (seconds, attoseconds) = (due - .now).components
        return max(0, Int(clamping: seconds * 1000 + attoseconds / 1_000_000_000_000_000 + 1))
    }

    private func fireTimers() {
        guard !self.timers.isEmpty else { return }
        let now = ContinuousClock.now
        let due = self.timers.filter { $0.due <= now }
        guard !due.isEmpty else { return }
        self.timers.removeAll { $0.due <= now }
        for timer in due { timer.body() }
    }

    // MARK: Commands

    private func takeCommands() {
        let commands = self.owner.state.withLock { state in
            defer { state.commands.removeAll(keepingCapacity: true) }
            state.queued.removeAll(keepingCapacity: true)
            return state.commands
        }
        for (index, command) in commands.enumerated() {
            switch command {
            case .open(let number, let options, let completion, let handler):
                self.open(number, options, completion, handler)
            case .send(let number, let frames): self.send(number, frames)
            case .timer(let due, let body): self.timers.append(Timer(due: due, body: body))
            case .close(let number): self.sockets[number] = nil
            case .end:
                self.isEnding = true
                for case .open(_, _, let completion, _) in commands[(index + 1)...] {
                    completion(.failure(ZMQThread.closed))
                }
                return
            }
        }
    }

    private func open(
        _ number: UInt64,
        _ options: ZMQSocketOptions,
        _ completion: @Sendable (Result<String, ZMQError>) -> Void,
        _ handler: @escaping ZMQThread.Handler
    ) {
        do throws(ZMQError) {
            let native = try LibZMQ.Socket(self.context, options, number: number)
            self.sockets[number] = Entry(native: native, handler: handler)
            completion(.success(native.endpoint))
        } catch {
            completion(.failure(error))
        }
    }

    private func send(_ number: UInt64, _ frames: [ByteBuffer]) {
        guard let entry = self.sockets[number], !frames.isEmpty else { return }
        do throws(ZMQError) { try entry.native.send(frames) } catch { entry.handler(.failed(error)) }
    }

    // MARK: Reading

    private func read(_ number: UInt64) {
        guard let entry = self.sockets[number] else { return }
        // Connections first: whoever hears of a new one may want to know it before the first message.
        while let isNew = entry.native.nextConnection() { entry.handler(isNew ? .connected : .disconnected) }
        for _ in 0..<Self.budget {
            switch entry.native.receive() {
            case .message(let frames): entry.handler(.message(frames))
            case .refused(let count): entry.handler(.refused(frames: count))
            case .nothing: return
            case .failed(let error):
                self.sockets[number] = nil
                entry.handler(.failed(error))
                return
            }
        }
    }
}
