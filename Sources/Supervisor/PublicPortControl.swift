/// Whoever serves the public port in front of the frontends, as the supervisor sees it.
package protocol PublicPortControl: Sendable {
    /// What happens there, for `status`.
    var report: GatewayReport { get async }

    /// Sends a frontend no more requests.
    ///
    /// Returns when it has answered those that it has, or when they take too long; it gets requests again when a new process of it is
    /// ready.
    func release(_ replica: String) async

    /// Takes no more connections; returns when the requests that were taken are answered, or take too long.
    func close() async
}
