import Glibc

/// Threads for what blocks: neither the cooperative pool nor an event loop may wait for a socket.
enum DetachedThread {
    /// Starts a thread that ends with the body.
    ///
    /// - Parameter body: what it does.
    /// - Throws: `NATSError` when the system has no thread left.
    static func start(_ body: @escaping @Sendable () -> Void) throws(NATSError) {
        let start = Unmanaged.passRetained(Start(body))
        var thread = pthread_t()
        let result = pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            },
            start.toOpaque()
        )
        guard result == 0 else {
            start.release()
            throw NATSError(
                .internalFailure,
                "cannot start a thread for NATS: \(SystemError.text(result)); raise the limit of threads (ulimit -u)"
            )
        }
        pthread_detach(thread)
    }

    private final class Start: Sendable {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}
