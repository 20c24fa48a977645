import Logging
import NIOCore
import RequestPlane

/// What the servers of all planes share: endpoints, admission, the tasks that answer, and the drain.
///
/// A transport takes requests off its wire and gives them to `dispatch`; everything after the acknowledgement is the same on every plane.
final class ServingCore: Sendable {
    let endpoints = EndpointTable()

    private let callHome: CallHomeConnector
    private let refusals: RefusalChannel
    private let logger: Logger
    private let gate: DrainGate
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
    }

    /// Creates the shared part of a server.
    ///
    /// - Parameters:
    ///   - capacity: requests that are answered at once; more are refused as overload.
    ///   - callHome: makes the connections that answers travel on.
    ///   - refusals: how callers hear of a refusal.
    ///   - logger: for what cannot be told to a caller.
    init(capacity: Int, callHome: CallHomeConnector, refusals: RefusalChannel, logger: Logger) {
        self.callHome = callHome
        self.refusals = refusals
        self.logger = logger
        self.gate = DrainGate(limit: capacity)
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
                self.answer(headers, payload, .serve(endpoint))
                return .accepted
            case .full: admission = .overloaded
            case .closed: admission = .shuttingDown
            }
        } else {
            admission = .unknownEndpoint
        }
        let refusal = RequestAnswer.Refusal(admission, path: path)
        self.logger.debug("refused a request", metadata: ["path": "\(path)", "reason": "\(refusal.text)"])
        switch self.refusals {
        case .acknowledgement: break
        case .acknowledgementOfNewCallers: self.answer(headers, payload, .refuse(refusal, onlyOldCallers: true))
        case .callHome: self.answer(headers, payload, .refuse(refusal, onlyOldCallers: false))
        }
        return admission
    }

    private func answer(_ headers: RequestHeaders, _ payload: ByteBuffer, _ purpose: RequestAnswer.Purpose) {
        let answer = RequestAnswer(
            headers: headers,
            payload: payload,
            purpose: purpose,
            connector: self.callHome,
            logger: self.logger
        )
        let result = self.eventSource.yield(.request(answer))
        if case .terminated = result, case .serve = purpose { self.gate.leave() }
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
            loop: for await event in self.events {
                switch event {
                case .request(let answer):
                    group.addTask {
                        await answer.run()
                        if case .serve = answer.purpose { self.gate.leave() }
                    }
                case .deadlinePassed:
                    group.cancelAll()
                case .listenerFailed(let error):
                    if self.gate.isClosed { continue }
                    failure = error
                    break loop
                }
            }
            if failure != nil || Task.isCancelled { group.cancelAll() }
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
