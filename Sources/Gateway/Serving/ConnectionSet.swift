import NIOCore
import Synchronization

/// The open connections of clients.
final class ConnectionSet: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var isClosed = false
        var onEmpty: AsyncStream<Void>.Continuation?
    }

    private let state = Mutex(State())

    var count: Int { self.state.withLock { $0.channels.count } }

    /// Keeps a channel until it is closed; closes it at once when the set is closed.
    func insert(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        let isClosed = self.state.withLock { state in
            if !state.isClosed { state.channels[id] = channel }
            return state.isClosed
        }
        guard !isClosed else { return channel.close(promise: nil) }
        channel.closeFuture.whenComplete { _ in
            let onEmpty = self.state.withLock { state in
                state.channels.removeValue(forKey: id)
                return state.channels.isEmpty ? state.onEmpty : nil
            }
            onEmpty?.finish()
        }
    }

    /// Asks every connection to end when its request is answered, and returns when all have, or after the time limit.
    func drain(within limit: Duration) async {
        let (empty, continuation) = AsyncStream.makeStream(of: Void.self)
        let channels = self.state.withLock { state in
            state.onEmpty = continuation
            return Array(state.channels.values)
        }
        if channels.isEmpty { return }
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in empty {} }
            group.addTask { try? await Task.sleep(for: limit) }
            await group.next()
            group.cancelAll()
        }
    }

    /// Whether a client is in the middle of something, or may be about to begin.
    func isAnyBusy() async -> Bool {
        for channel in self.state.withLock({ Array($0.channels.values) }) {
            let isBusy = channel.eventLoop.submit {
                (try? channel.pipeline.syncOperations.handler(type: ClientConnection.self))?.isBusy ?? false
            }
            if (try? await isBusy.get()) ?? false { return true }
        }
        return false
    }

    /// Closes every connection, and those that are inserted later.
    func closeAll() async {
        let channels = self.state.withLock { state in
            state.isClosed = true
            return Array(state.channels.values)
        }
        for channel in channels { channel.close(promise: nil) }
        for channel in channels { try? await channel.closeFuture.get() }
    }
}
