import Logging
import NATS
import NIOCore
import NIOPosix
import RequestPlane
import Synchronization

/// Serves the endpoints of this process as NATS subjects, one for each.
final class NATSServer: TransportServer {
    let mode = RequestPlaneMode.nats

    private let link: NATSLink
    private let core: ServingCore
    private let subscriptions = Mutex<[EndpointID: NATSSubscription]>([:])

    /// The queue group of Dynamo's workers.
    private static let queueGroup = "q"

    init(
        configuration: NetworkManager.Configuration,
        link: NATSLink,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger
    ) {
        self.link = link
        self.core = ServingCore(
            capacity: configuration.nats.maximumInFlight,
            callHome: CallHomeConnector(
                group: group,
                timeout: configuration.responseStream.connectTimeout,
                security: ConnectionSecurity(configuration.security)
            ),
            execution: configuration.handlerExecution,
            // Callers of Dynamo do not read replies.
            refusals: .callHome,
            logger: logger
        )
    }

    var inFlight: Int { self.core.inFlight }

    var statistics: [EndpointStatistics] { self.core.endpoints.statistics }

    // MARK: Endpoints

    func register(
        _ endpoint: EndpointID,
        id: InstanceID,
        handler: @escaping RequestHandler
    ) async throws(RequestPlaneError) -> TransportAddress {
        guard !self.core.isClosed else {
            throw RequestPlaneError(.unavailable, "cannot register \(endpoint): this server is shutting down")
        }
        let connection = try await self.link.connection()
        // Source: `request-plane.md`, "Instance record".
        let subject = "\(endpoint.namespace)_\(endpoint.component).\(endpoint.name)-\(id.hex)"
        _ = try self.core.endpoints.add(
            ServedEndpoint(id: endpoint, instance: id, handler: handler),
            paths: [subject]
        )
        let registration = Registration()
        do throws(NATSError) {
            let subscription = try await connection.subscribe(
                subject,
                queueGroup: Self.queueGroup,
                ended: { if !registration.ended($0) { self.subscriptionEnded(endpoint, $0) } },
                handler: { self.receive($0, connection) }
            )
            self.subscriptions.withLock { $0[endpoint] = subscription }
            // The address may be published as soon as the server knows of it.
            try await connection.flush()
            try registration.complete()
        } catch {
            await self.unregister(endpoint)
            throw Self.failure(endpoint, error)
        }
        return .nats(subject)
    }

    func unregister(_ endpoint: EndpointID) async {
        self.core.endpoints.remove(endpoint)
        guard let subscription = self.subscriptions.withLock({ $0.removeValue(forKey: endpoint) }) else { return }
        subscription.unsubscribe()
        // Requests that come later find no responders at once, rather than a refusal.
        try? await self.link.current?.flush(timeout: .seconds(1))
    }

    private func receive(_ message: NATSMessage, _ connection: NATSConnection) -> NATSSubscription.Demand {
        let headers = RequestHeaders.fields(message.headers.requestFields)
        let admission = self.core.dispatch(path: message.subject, headers: headers, payload: message.payload)
        // An empty reply also to what is refused: that is how workers of Dynamo acknowledge, and nobody reads more. Without one the
        // caller knows within its time limit that it will not be called home.
        if admission != .dropped, let reply = message.reply { try? connection.publish(reply) }
        return .more
    }

    private func subscriptionEnded(_ endpoint: EndpointID, _ error: NATSError?) {
        // Given up by this server, it would not be there any more.
        guard self.subscriptions.withLock({ $0.removeValue(forKey: endpoint) }) != nil else { return }
        if let error, error.code == .notPermitted { return self.core.listenerFailed(Self.failure(endpoint, error)) }
        let reason = error?.message ?? "the connection was closed"
        self.core.listenerFailed(
            RequestPlaneError(.unavailable, "NATS brings no more requests for \(endpoint): \(reason)")
        )
    }

    private static func failure(_ endpoint: EndpointID, _ error: NATSError) -> RequestPlaneError {
        guard error.code == .notPermitted else { return RequestPlaneError(nats: error) }
        let subjects = "\(endpoint.namespace)_\(endpoint.component).*"
        return RequestPlaneError(
            .invalidConfiguration,
            "cannot serve \(endpoint): \(error.message): each instance has a subject of its own, so grant 'subscribe' on '\(subjects)'"
        )
    }

    // MARK: Lifecycle

    func run() async throws {
        try await self.core.run {
            let subscriptions = self.subscriptions.withLock { subscriptions in
                defer { subscriptions = [:] }
                return Array(subscriptions.values)
            }
            for subscription in subscriptions { subscription.unsubscribe() }
        }
    }

    /// Requests that come meanwhile are refused in words; the subjects are given up at the end.
    func drain(deadline: Duration) async { await self.core.drain(deadline: deadline) }
}

/// Whether an endpoint's subscription has ended before its address was given out.
private final class Registration: Sendable {
    private let state = Mutex((isComplete: false, failure: NATSError?.none))

    /// The subscription has ended.
    ///
    /// - Returns: whether whoever registers is told.
    func ended(_ error: NATSError?) -> Bool {
        self.state.withLock { state in
            guard !state.isComplete, let error else { return false }
            state.failure = error
            return true
        }
    }

    /// - Throws: why the subscription has ended already.
    func complete() throws(NATSError) {
        let failure = self.state.withLock { state in
            state.isComplete = true
            return state.failure
        }
        if let failure { throw failure }
    }
}
