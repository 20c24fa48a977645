import Logging
import Synchronization

/// From the queue to the socket.
extension ConnectionLoop {
    func write() {
        while let established = self.current, !established.link.isLost {
            if established.link.wantsWrite { established.native.processWrite() }
            guard !established.link.wantsWrite else { return }
            let batch = self.core.state.withLock { state in
                state.outbound.take(upTo: 256 * 1024).filter { entry in
                    // A request that was cancelled or has timed out is not sent any more.
                    switch entry.item {
                    case .message(_, nil): true
                    case .message(_, .some(let number)), .flush(let number, _): state.replies.contains(number)
                    }
                }
            }
            guard !batch.isEmpty else { return }
            for (index, entry) in batch.enumerated() where !self.send(entry.item, established.native) {
                self.core.state.withLock { $0.outbound.putBack(batch[index...]) }
                return
            }
        }
    }

    /// - Returns: false when it must be sent on the next connection.
    private func send(_ item: ConnectionState.Outgoing, _ native: NativeConnection) -> Bool {
        switch item {
        case .flush(let number, let completion):
            let entry = self.core.state.withLock { $0.replies.take(number) }
            if let entry { self.flush(timeout: entry.deadline - .now, completion) }
        case .message(let message, let request):
            if request != nil, let error = self.openInbox() {
                self.sendFailed(message, request, error)
                return true
            }
            switch native.publish(message) {
            case .ok:
                self.traffic.messagesOut += 1
                self.traffic.bytesOut += UInt64(message.size)
            case .closed, .disconnected: return false
            case .payloadTooLarge:
                // The server has changed its limit since the message was accepted.
                let (limit, server) = self.core.state.withLock { ($0.maximumPayload, $0.server) }
                let error = ConnectionState.tooLarge(message.subject, size: message.size, limit: limit, server: server)
                self.sendFailed(message, request, error)
            case .noServerSupport:
                let text =
                    "the NATS server takes no headers, which '\(message.subject)' needs; use nats-server 2.2 or newer"
                self.sendFailed(message, request, NATSError(.unsupported, text))
            case let status:
                let text = "cannot publish to '\(message.subject)' on NATS: \(status) \(NativeStatus.lastErrorText)"
                self.sendFailed(message, request, NATSError(.internalFailure, text))
            }
        }
        return true
    }

    private func sendFailed(_ message: NATSMessage, _ request: UInt64?, _ error: NATSError) {
        let entry = self.core.state.withLock { state in
            state.statistics.publishFailures += 1
            return request.flatMap { state.replies.take($0) }
        }
        if let entry { entry.handler(.failure(error)) } else { self.core.report(error) }
    }

    /// Subscribes to the replies of requests, once for each connection of the library.
    func openInbox() -> NATSError? {
        self.isInboxWanted = true
        guard self.inbox == nil, let native = self.current?.native else { return nil }
        let (subscription, status) = native.subscribeToReplies(self.core.inbox + ".*")
        guard let subscription, status == .ok else {
            return NATSError(.internalFailure, "cannot subscribe to replies on NATS: \(status)")
        }
        // Requests bound the replies; the limits are for strangers who write to the inbox.
        _ = subscription.setLimits(messages: 1_000_000, bytes: 1 << 30)
        self.inbox = subscription
        return nil
    }
}
