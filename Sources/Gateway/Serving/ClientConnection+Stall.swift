import NIOCore
import NIOSSL

// A client that stops reading in the middle of an answer: it would hold its backend's connection, and a place in an engine, for ever.

extension ClientConnection {
    /// Whether the system has not taken yet everything that was written.
    var hasPendingOutput: Bool {
        guard let bytes = try? self.context?.channel.syncOptions?.getOption(.bufferedWritableBytes) else {
            return false
        }
        return bytes > 0
    }

    /// The connection's buffer is full, or did not run empty: its client must take something from now on.
    func watchForStall() {
        guard let context = self.context else { return }
        self.stall.begin(self.progress(context.channel), now: .now())
        self.scheduleStallCheck(context)
    }

    /// What changes when the client takes something.
    ///
    /// Bytes that are acknowledged, where the system counts them: it reports a socket as writable only when a third of its buffer of
    /// megabytes is free, and a slow client needs minutes for that.
    private func progress(_ channel: any Channel) -> UInt64 {
        if let acknowledged = ConnectionState.acknowledgedBytes(channel) { return acknowledged }
        return UInt64((try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0)
    }

    private func scheduleStallCheck(_ context: ChannelHandlerContext) {
        guard self.stallCheck == nil else { return }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let pause = TimeAmount.nanoseconds(max(1_000_000, TimeAmount(self.limits.writeTimeout).nanoseconds / 4))
        self.stallCheck = context.eventLoop.scheduleTask(in: pause) { bound.value.checkForStall() }
    }

    private func checkForStall() {
        self.stallCheck = nil
        guard self.stall.isWatching, let context = self.context else { return }
        guard self.hasPendingOutput else { return self.stall.end() }
        let time = self.stall.stalled(self.progress(context.channel), now: .now())
        if time >= TimeAmount(self.limits.writeTimeout) {
            self.clientStalled()
        } else {
            self.scheduleStallCheck(context)
        }
    }

    private func clientStalled() {
        let secure = self.secureContext
        self.context?.reset()
        // A handler of TLS would say goodbye first, and wait for the answer of somebody who does not read.
        self.abandon(.clientStalled)
        secure?.close(promise: nil)
    }

    /// Where TLS is spoken; nil: nowhere.
    var secureContext: ChannelHandlerContext? {
        try? self.context?.pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self)
    }
}
