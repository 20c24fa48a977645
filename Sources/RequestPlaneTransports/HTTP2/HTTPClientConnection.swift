import NIOCore
import RequestPlane

/// A request for the HTTP plane.
typealias HTTPCall = PlaneCall<EncodedHTTPRequest>

/// One exchange with a server: a call, or the question for its limits.
struct HTTPExchange: Sendable {
    let request: EncodedHTTPRequest
    let deadline: NIODeadline
    /// Nil for the question.
    let call: HTTPCall?

    init(_ call: HTTPCall) {
        self.request = call.request
        self.deadline = call.deadline
        self.call = call
    }

    init(optionsOf url: HTTPInstanceURL, deadline: NIODeadline) {
        self.request = EncodedHTTPRequest(optionsOf: url)
        self.deadline = deadline
        self.call = nil
    }
}

/// A connection that a pool uses, on the pool's event loop.
protocol HTTPClientConnection: AnyObject {
    /// Writes a request; false when the connection cannot take it.
    func send(_ exchange: HTTPExchange) -> Bool

    /// Closes; what is unsettled fails.
    func close()
}

/// What a connection tells its pool.
enum HTTPConnectionEvent {
    /// It takes requests, so many at once.
    case opened(capacity: Int)
    /// It takes another number of requests at once.
    case capacityChanged(Int)
    /// It takes no more requests, and ends when the running ones are settled.
    case retired
    case settled(HTTPExchange, Outcome)
    /// The peer does not speak HTTP/2; certain when it has answered in HTTP/1. The connection is closed.
    case notHTTP2(isCertain: Bool)
    /// It is closed, everything being settled.
    case closed(hasServed: Bool)

    /// What became of a request.
    enum Outcome {
        case response(HTTPResponse)
        /// Not processed, or on a connection that was closed while it was idle: may be sent again.
        case unprocessed(PlaneFailure)
        case failed(PlaneFailure)
    }
}
