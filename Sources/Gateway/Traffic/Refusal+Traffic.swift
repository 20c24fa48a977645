extension Refusal {
    /// Too many requests are at backends.
    static func tooManyRequests(_ limit: Int) -> Refusal {
        Refusal(
            503,
            "too_many_requests",
            "\(limit) requests are running, the gateway's limit; try again",
            retryAfter: 1
        )
    }

    /// There is no backend, and the request may not wait for one.
    static func noBackend(_ more: String) -> Refusal {
        Refusal(503, "no_backend_ready", "no process is ready to answer\(more); try again", retryAfter: 5)
    }

    /// No backend will come any more.
    static var closing: Refusal {
        Refusal(503, "no_backend_ready", "the deployment is being stopped; try again later", retryAfter: 5)
    }

    /// A request has waited long enough.
    static func impatient(_ patience: Duration) -> Refusal {
        Refusal(
            503,
            "no_backend_ready",
            "no process became ready to answer within \(patience.components.seconds) s; try again later",
            retryAfter: 5
        )
    }
}
