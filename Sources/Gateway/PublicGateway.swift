/// A gateway that serves the public port, in this process or in another one.
///
/// What is asked is answered as it is at that moment: figures contain every request that had ended when they were asked for.
package protocol PublicGateway: Sendable {
    /// Opens the port; requests wait from then on until there are backends.
    ///
    /// - Throws: `GatewayError` with the listener that cannot be opened; none is open then.
    func bind() async throws(GatewayError)

    /// Where requests went when it was bound: the process of an earlier launcher serves, and goes on so until it is told otherwise.
    ///
    /// Nil when it serves nothing yet.
    var inherited: GatewayTraffic? { get }

    /// Serves until it is cancelled, which cuts what is running, or drained.
    ///
    /// - Returns: why it can serve no more, in words; nil when it was to end.
    func serve() async -> String?

    /// Takes no new connections, and answers what is running; ``serve()`` returns afterwards.
    func drain(within limit: Duration) async

    /// Accepts no more connections, unless somebody is in the middle of something, or a request was here meanwhile.
    ///
    /// - Returns: whether it is so; otherwise connections are accepted as before.
    func pause(ifIdleFor idle: Duration) async -> Bool

    /// Replaces the backends that get requests, and the shares of their generations; in the order of the calls.
    func setBackends(_ backends: [Backend], shares: [Int: Int]?)

    /// Waits until a backend that ``setBackends(_:shares:)`` has removed has answered everything.
    ///
    /// - Returns: whether it has, within the limit.
    func waitUntilIdle(_ backend: Backend, within limit: Duration) async -> Bool

    /// Waits until a generation that gets nothing new has answered everything.
    ///
    /// - Returns: whether it has, within the limit.
    func waitUntilIdle(generation: Int, within limit: Duration) async -> Bool

    /// What was counted of a generation.
    func figures(of generation: Int) async -> TrafficFigures

    /// For how long no request has been here.
    var idleTime: Duration { get async }

    /// What it does at the moment.
    var status: GatewayStatus { get async }

    /// Where it listens, for display.
    var addresses: [String] { get async }

    /// The process that has the port; nil: it is this one.
    var processID: Int32? { get }

    /// The descriptor of each listener, in the order of the configuration.
    func descriptors() async -> [Int32?]

    /// Files of Unix sockets stay when the listeners close, because somebody else has the sockets too.
    func keepSocketFiles() async
}

extension Gateway: PublicGateway {
    package func serve() async -> String? {
        await self.run()
        return nil
    }

    package var inherited: GatewayTraffic? { nil }

    package var processID: Int32? { nil }
}
