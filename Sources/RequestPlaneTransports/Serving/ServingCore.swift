import Logging
import NIOCore
import RequestPlane

/// What the servers of all planes share: endpoints, admission, the tasks that answer, and the drain.
///
/// A transport takes requests off its wire and gives them to `dispatch`; everything after the acknowledgement is the same on every plane.
final class ServingCore: Sendable {
    let endpoints = EndpointTable()

    private let callHome: CallHomeConnector
    private let execution: HandlerExecution
    private let refusals: RefusalChannel
    private let logger: Logger
    private let gate: DrainGate
    /// Calls home that only tell of a refusal: a flood of requests must not become a flood of connections.
    private let refusalGate: DrainGate
    private let refusalLog = LogLimit()
    private let events: AsyncStream<Event>
    private let eventSource: AsyncStream<Event>.Continuation

    /// What `run()` reacts to.
    private enum Event {
        case request(RequestAnswer)
        case deadlinePassed
        case listenerFailed(RequestPlaneError)
    }

    /// How the callers of a plane hear that a request is refused.
    enum RefusalChannel: Sendable {
        /// From the acknowledgement.
        case acknowledgement
        /// From the acknowledgement, except callers of Dynamo up to 1.2, which do not look at it and are called home.
        case acknowledgementOfNewCallers
        /// From an error prologue only.
        case callHome
    }

    /// Whether a request was taken.
    enum Admission: Hashable, Sendable {
        case accepted
        case unknownEndpoint
        case overloaded
        case shuttingDown
        /// Refused, and its caller will not hear of it: too many others are being told, or this server has ended.
        case dropped
    }

    /// Creates the shared part of a server.
    ///
    /// - Parameters:
    ///   - capacity: requests that are answered at once; more are refused as overload.
    ///   - callHome: makes the connections that answers travel on.
    ///   - execution: where handlers run.
    ///   - refusals: how callers hear of a refusal.
    ///   - refusalCapacity: callers that are called home for a refusal at once.
    ///   - logger: for what cannot be told to a caller.
    init(
        capacity: Int,
        callHome: CallHomeConnector,
        execution: HandlerExecution = .concurrent,
        refusals: RefusalChannel,
        refusalCapacity: Int = 1024,
        logger: Logger
    ) {
        self.callHome = callHome
        self.execution = execution
        self.refusals = refusals
        self.logger = logger
        self.gate = DrainGate(limit: capacity)
        self.refusalGate = DrainGate(limit: refusalCapacity)
        (self.events, self.eventSource) = AsyncStream.makeStream()
    }

    var inFlight: Int { self.gate.count }

    var isClosed: Bool { self.gate.isClosed }

    // MARK: Requests

    /// Decides over a request at once; the answer is written by a task of `run()`.
    ///
    /// - Parameters:
    ///   - path: how the plane names the endpoint.
    ///   - headers: the plane-level headers.
    ///   - payload: a two-part message, not looked at yet.
    /// - Returns: what to acknowledge.
    func dispatch(path: String, headers: RequestHeaders, payload: ByteBuffer) -> Admission {
        let admission: Admission
        if let endpoint = self.endpoints[path] {
            switch self.gate.enter() {
            case .admitted:
                return self.answer(headers, payload, .serve(endpoint)) ? .accepted : .dropped
            case .full: admission = .overloaded
            case .closed: admission = .shuttingDown
            }
        } else {
            admission = .unknownEndpoint
        }
        let refusal = RequestAnswer.Refusal(admission, path: path)
        self.logger.debug("refused a request", metadata: ["path": "\(path)", "reason": "\(refusal.text)"])
        switch self.refusals {
        case .acknowledgement: return admission
        case .acknowledgementOfNewCallers:
            self.refuse(headers, payload, .refuse(refusal, onlyOldCallers: true))
            return admission
        case .callHome:
            return self.refuse(headers, payload, .refuse(refusal, onlyOldCallers: false)) ? admission : .dropped
        }
    }

    @discardableResult
    private func refuse(_ headers: RequestHeaders, _ payload: ByteBuffer, _ purpose: RequestAnswer.Purpose) -> Bool {
        guard self.refusalGate.enter() == .admitted else {
            if self.refusalLog.allows() {
                self.logger.warning(
                    "refusing more requests than callers can be told; theirs time out",
                    metadata: ["in_flight": "\(self.inFlight)"]
                )
            }
            return false
        }
        return self.answer(headers, payload, purpose)
    }

    /// Leaves an answer to `run()`.
    ///
    /// - Returns: false when that has ended.
    private func answer(_ headers: RequestHeaders, _ payload: ByteBuffer, _ purpose: RequestAnswer.Purpose) -> Bool {
        let answer = RequestAnswer(
            headers: headers,
            payload: payload,
            purpose: purpose,
            connector: self.callHome,
            execution: self.execution,
            logger: self.logger
        )
        guard case .terminated = self.eventSource.yield(.request(answer)) else { return true }
        self.leave(purpose)
        return false
    }

    private func leave(_ purpose: RequestAnswer.Purpose) {
        switch purpose {
        case .serve: self.gate.leave()
        case .refuse: self.refusalGate.leave()
        }
    }

    // MARK: Lifecycle

    /// The transport cannot take requests any more; `run()` ends with the error, unless the server is draining.
    func listenerFailed(_ error: RequestPlaneError) { self.eventSource.yield(.listenerFailed(error)) }

    /// Runs the answers until cancelled or drained, then the transport's own end.
    ///
    /// - Parameter close: stops to listen and closes every connection.
    /// - Throws: `RequestPlaneError` when the listener has failed.
    func run(closing close: () async -> Void) async throws {
        var failure: RequestPlaneError?
        await withDiscardingTaskGroup { group in
            for await event in self.events {
                switch event {
                case .request(let answer):
                    group.addTask {
                        await answer.run()
                        self.leave(answer.purpose)
                    }
                case .deadlinePassed:
                    group.cancelAll()
                case .listenerFailed(let error):
                    if self.gate.isClosed { continue }
                    failure = error
                    // What waits behind this event is not left behind: it is begun, cancelled, and leaves its gate.
                    self.gate.close()
                    self.eventSource.finish()
                    group.cancelAll()
                }
            }
            if Task.isCancelled { group.cancelAll() }
        }
        self.gate.close()
        self.eventSource.finish()
        await close()
        if let failure { throw failure }
    }

    /// Refuses new requests, waits for the running ones, then makes `run()` return.
    func drain(deadline: Duration) async {
        self.gate.close()
        if await !self.gate.waitUntilEmpty(atMost: deadline) {
            self.logger.warning(
                "cancelling requests that still run at the drain deadline",
                metadata: ["count": "\(self.inFlight)"]
            )
            self.eventSource.yield(.deadlinePassed)
        }
        self.eventSource.finish()
    }
}

/// Plane-level headers as a transport has received them; read only when a request is served.
enum RequestHeaders: Sendable {
    /// The text of a JSON object.
    case json(ByteBuffer)
    case fields([String: String])

    var decoded: [String: String] {
        switch self {
        case .json(let text): TCPRequestFrame.decodeHeaders(text)
        case .fields(let fields): fields
        }
    }
}
