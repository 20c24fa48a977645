import NIOCore

/// What a server says to a pull beside messages.
enum PullStatus: Sendable, Hashable {
    /// It is alive.
    case heartbeat
    /// The pull has ended: nothing there, or its time is over.
    case ended
    /// The pull has ended for a reason that passes.
    case interrupted(String)
    case consumerDeleted
    /// Another pull would end the same way.
    case refused(String)

    /// - Returns: nil when the message is one of the stream.
    init?(_ message: NATSMessage) {
        guard message.payload.readableBytes == 0, let status = message.headers["Status"] else { return nil }
        let text = message.headers["Description"] ?? ""
        let lowercased = text.lowercased()
        self =
            switch status {
            case "100": .heartbeat
            case "404", "408": .ended
            case "409" where lowercased.contains("consumer deleted"): .consumerDeleted
            case "409" where lowercased.contains("push based"): .refused(text)
            // Such as "Exceeded MaxRequestBatch of 5".
            case "409" where lowercased.contains("exceeded maxrequest"): .refused(text)
            case "400": .refused(text)
            default: .interrupted("\(status) \(text)")
            }
    }
}
