package import RequestPlane
internal import Synchronization

/// A request-plane transport as the conformance checks see it.
package protocol ConformanceTransport: Sendable {
    /// How many streams the check of many open streams holds.
    ///
    /// Each takes two descriptors where the transport has sockets.
    var manyStreams: Int { get }

    /// Makes a server and a client that share nothing but the transport; neither runs yet.
    ///
    /// - Parameter options: what the check wants changed.
    /// - Returns: both.
    /// - Throws: what keeps the transport from being used.
    func makeEnds(_ options: ConformanceOptions) async throws -> ConformanceEnds
}

extension ConformanceTransport {
    package var manyStreams: Int { 1000 }
}

/// What a check wants of the transport under test.
package struct ConformanceOptions: Sendable {
    /// Requests that the server answers at once.
    package var capacity: Int?
    /// The largest request, as the transport measures it.
    package var requestLimit: Int?
    /// Of acknowledgement and call-home: a short one lets a check see it pass.
    package var timeout: Duration?

    package init(capacity: Int? = nil, requestLimit: Int? = nil, timeout: Duration? = nil) {
        self.capacity = capacity
        self.requestLimit = requestLimit
        self.timeout = timeout
    }
}

/// A server and a client, and what a transport's own test knows about them.
package struct ConformanceEnds: Sendable {
    package var server: any RequestPlaneServer
    package var client: any RequestPlaneClient
    package var statistics: @Sendable () -> [EndpointStatistics]
    /// Runs the server's process until it is cancelled or drained.
    package var runServer: @Sendable () async throws -> Void
    /// Drains the server's process.
    package var drainServer: @Sendable (_ deadline: Duration) async -> Void
    /// Runs the client's process until it is cancelled or drained.
    package var runClient: @Sendable () async throws -> Void

    package init(
        server: any RequestPlaneServer,
        client: any RequestPlaneClient,
        statistics: @escaping @Sendable () -> [EndpointStatistics],
        runServer: @escaping @Sendable () async throws -> Void,
        drainServer: @escaping @Sendable (_ deadline: Duration) async -> Void,
        runClient: @escaping @Sendable () async throws -> Void = {}
    ) {
        self.server = server
        self.client = client
        self.statistics = statistics
        self.runServer = runServer
        self.drainServer = drainServer
        self.runClient = runClient
    }
}

/// A server and a client while a check runs them.
package final class ConformancePair: Sendable {
    package let server: any RequestPlaneServer
    package let client: any RequestPlaneClient
    private let ends: ConformanceEnds
    private let cutter: ConnectionCutter
    private let serverLife = Life()
    private let clientLife = Life()

    private init(_ ends: ConformanceEnds, _ cutter: ConnectionCutter) {
        self.ends = ends
        self.server = ends.server
        self.client = ends.client
        self.cutter = cutter
    }

    package var statistics: [EndpointStatistics] { self.ends.statistics() }

    /// Runs a check's body with both ends.
    ///
    /// - Parameters:
    ///   - transport: what is under test.
    ///   - options: what the check wants changed.
    ///   - startServer: whether the server runs from the beginning; else when the body calls `startServer()`.
    ///   - body: the check.
    /// - Throws: what the body throws, or an end that failed.
    static func run(
        on transport: any ConformanceTransport,
        _ options: ConformanceOptions = ConformanceOptions(),
        startServer: Bool = true,
        _ body: (ConformancePair) async throws -> Void
    ) async throws {
        let cutter = ConnectionCutter()
        let pair = ConformancePair(try await transport.makeEnds(options), cutter)
        try await withThrowingTaskGroup(of: Void.self) { group in
            if startServer { pair.startServer() }
            pair.clientLife.start()
            group.addTask { try await pair.serverLife.run(pair.ends.runServer) }
            group.addTask { try await pair.clientLife.run(pair.ends.runClient) }
            do { try await body(pair) } catch {
                group.cancelAll()
                while await group.nextResult() != nil {}
                throw error
            }
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    /// Lets a server run that was not started.
    package func startServer() { self.serverLife.start() }

    /// Drains the server's process.
    package func drainServer(deadline: Duration) async { await self.ends.drainServer(deadline) }

    /// Waits until the server's `run()` has returned.
    ///
    /// - Throws: `ConditionNotMet` when it does not.
    package func serverHasEnded() async throws {
        try await eventually("the server's run() returns") { self.serverLife.hasEnded }
    }

    /// Cancels the server's `run()`.
    ///
    /// - Throws: `ConditionNotMet` when it does not return.
    package func cancelServer() async throws {
        self.serverLife.end()
        try await self.serverHasEnded()
    }

    /// Ends the server as a killed process ends: its connections break without a word, and nobody listens any more.
    ///
    /// - Throws: `ConditionNotMet` when the server does not end.
    package func vanishServer() async throws {
        self.cutter.cut()
        try await self.cancelServer()
    }

    /// Ends the client as a killed process ends.
    ///
    /// - Throws: `ConditionNotMet` when the client does not end.
    package func vanishClient() async throws {
        self.cutter.cut()
        self.clientLife.end()
        try await eventually("the client's run() returns") { self.clientLife.hasEnded }
    }

    /// Breaks every connection between the two, without a word; both go on to run.
    package func cutConnections() { self.cutter.cut() }

    /// Serves an endpoint.
    ///
    /// - Parameters:
    ///   - name: the endpoint's name.
    ///   - component: the endpoint's component.
    ///   - handler: answers the requests.
    /// - Returns: the instance to call.
    /// - Throws: `RequestPlaneError` when the server does not serve it.
    package func serve(
        _ name: String,
        component: String = "backend",
        _ handler: @escaping RequestHandler
    ) async throws -> Instance {
        let endpoint = EndpointID(namespace: "conformance", component: component, name: name)
        let id = InstanceID(rawValue: 0xFEDC_BA98_7654_3210)
        let address = try await self.server.register(endpoint, id: id, handler: handler)
        return Instance(endpoint: endpoint, id: id, transport: address)
    }

    /// Serves the endpoint of checks that need just one.
    ///
    /// - Parameter handler: answers the requests.
    /// - Returns: the instance to call.
    /// - Throws: `RequestPlaneError` when the server does not serve it.
    package func serve(_ handler: @escaping RequestHandler) async throws -> Instance {
        try await self.serve("run", handler)
    }
}

/// When an end begins to run and when it is made to end.
private final class Life: Sendable {
    private let begin = Latch()
    private let stop = Latch()
    private let ended = Atomic(false)

    var hasEnded: Bool { self.ended.load(ordering: .acquiring) }

    func start() { self.begin.open() }

    func end() {
        self.stop.open()
        self.begin.open()
    }

    func run(_ body: @escaping @Sendable () async throws -> Void) async throws {
        defer { self.ended.store(true, ordering: .releasing) }
        try? await self.begin.wait()
        try await withThrowingTaskGroup(of: Void.self) { group in
            // A server that is ended before it has begun must not look at what was sent to it.
            if self.stop.isOpen { group.cancelAll() }
            group.addTask { try await body() }
            group.addTask {
                try? await self.stop.wait()
                throw CancellationError()
            }
            do { try await group.next() } catch is CancellationError {}
            group.cancelAll()
            while let result = await group.nextResult() {
                if case .failure(let error) = result, !(error is CancellationError) { throw error }
            }
        }
    }
}
