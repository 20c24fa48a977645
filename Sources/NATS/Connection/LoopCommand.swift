/// What the connection's thread is asked to do.
enum LoopCommand: Sendable {
    case subscribe(NATSSubscription, @Sendable (NATSError?) -> Void)
    case unsubscribe(UInt64)
    case drain(UInt64, timeout: Duration, @Sendable (NATSError?) -> Void)
    /// The server sends nothing more for a subscription, or the time for that is over.
    case drained(UInt64)
    case drainAll(timeout: Duration, @Sendable (NATSError?) -> Void)
    /// The flush that ends a drain has ended.
    case drainFlushed(NATSError?)
    /// The server does not let this user subscribe to a subject.
    case denied(String)
    /// Look at the subscriptions.
    case poll
    /// An attempt to connect has ended.
    case attempted(Result<Link.Established, NATSError>)
    /// The server has answered a ping, or was given up.
    case pinged
    case close

    /// Answers a command that comes after the end.
    func refuse() {
        switch self {
        case .subscribe(_, let completion): completion(NATSError(.closed, "the connection to NATS is closed"))
        case .drain(_, _, let completion), .drainAll(_, let completion): completion(nil)
        case .attempted(.success(let established)): established.retire()
        case .attempted(.failure), .unsubscribe, .denied, .drained, .drainFlushed, .poll, .pinged, .close: break
        }
    }
}
