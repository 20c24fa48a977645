import NIOHTTP1
import RequestPlane

/// What a server says to a request; the acknowledgement of the HTTP plane.
///
/// Source: `request-plane.md` 3.2.
struct HTTPAnswer: Hashable, Sendable {
    var status: Status
    var text = ""

    enum Status: Int, Hashable, Sendable {
        case accepted = 202
        case noContent = 204
        case malformed = 400
        case notFound = 404
        case methodNotAllowed = 405
        case tooLarge = 413
        case headersTooLarge = 431
        case unavailable = 503
    }

    /// Says how large a body this server takes; real servers do not send it and take 2 MiB.
    static let maximumBodyHeader = "x-dynamo-max-body"

    static let accepted = Self(status: .accepted)
    static let options = Self(status: .noContent)
    static let outside = Self(status: .notFound)
    static let unknownEndpoint = Self(status: .notFound, text: "Endpoint not found")
    static let methodNotAllowed = Self(status: .methodNotAllowed)
    static let tooLarge = Self(
        status: .tooLarge,
        text: "Failed to buffer the request body: length limit exceeded"
    )

    /// Too many bodies arrive at once.
    ///
    /// - Parameter limit: the bytes that the server holds of them.
    /// - Returns: the answer.
    static func bodiesFull(limit: Int) -> Self {
        Self(
            status: .unavailable,
            text:
                "\(TCPAcknowledgement.overloadedPrefix) requests whose bodies have not arrived whole take all of the \(limit) bytes "
                + "that this server holds for them; try again later or call another instance, and use the TCP plane for many large "
                + "requests (DYN_REQUEST_PLANE=tcp)"
        )
    }

    static func malformed(_ reason: String) -> Self { Self(status: .malformed, text: "malformed request: \(reason)") }

    init(status: Status, text: String = "") {
        self.status = status
        self.text = text
    }

    /// The answer to a request that was read whole.
    init(_ admission: ServingCore.Admission, path: String) {
        switch admission {
        case .accepted: self = .accepted
        case .unknownEndpoint: self = .unknownEndpoint
        case .overloaded, .shuttingDown, .dropped:
            self.init(status: .unavailable, text: RequestAnswer.Refusal(admission, path: path).text)
        }
    }

    /// The head of the response, without what concerns the connection.
    ///
    /// - Parameter maximumBody: the server's limit.
    /// - Returns: status and headers.
    func head(maximumBody: Int) -> HTTPResponseHead {
        var headers = HTTPHeaders()
        headers.reserveCapacity(6)
        if self.status == .methodNotAllowed {
            headers.add(name: "allow", value: "POST")
        } else if self.status == .noContent {
            headers.add(name: "allow", value: "POST, OPTIONS")
        } else if self.status == .accepted || !self.text.isEmpty {
            headers.add(name: "content-type", value: "text/plain; charset=utf-8")
        }
        if self.status != .noContent { headers.add(name: "content-length", value: String(self.text.utf8.count)) }
        headers.add(name: Self.maximumBodyHeader, value: String(maximumBody))
        headers.add(name: "date", value: WallClock.httpDate())
        return HTTPResponseHead(
            version: .http1_1,
            status: HTTPResponseStatus(statusCode: self.status.rawValue),
            headers: headers
        )
    }
}
