import Discovery
import HTTPTypes
import RequestPlane

/// An error as OpenAI's clients expect it.
///
/// Dynamo's own frontend answers `{"message","type","code"}` without the `error` envelope in unstreamed answers and with it
/// in streams; here it is the envelope always, which is what the clients' libraries read.
struct OpenAIError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kinds of errors of OpenAI's interface, with the word that Dynamo's metrics use for them.
    enum Kind: String, Sendable, Hashable, CaseIterable {
        case invalidRequest = "invalid_request_error"
        case notFound = "not_found_error"
        case overloaded = "overloaded_error"
        case unavailable = "service_unavailable_error"
        case server = "server_error"

        var metricsLabel: String {
            switch self {
            case .invalidRequest: "validation"
            case .notFound: "not_found"
            case .overloaded, .unavailable: "unavailable"
            case .server: "internal"
            }
        }
    }

    var status: HTTPResponse.Status
    var kind: Kind
    var message: String
    /// The field of the request that is wrong.
    var param: String?
    /// A word for programs.
    var code: String?

    var json: JSONValue {
        [
            "error": [
                "message": .string(self.message),
                "type": .string(self.kind.rawValue),
                "param": self.param.map(JSONValue.string) ?? .null,
                "code": self.code.map(JSONValue.string) ?? .null,
            ]
        ]
    }

    var description: String { self.message }

    static func invalid(_ message: String, param: String? = nil, code: String? = nil) -> OpenAIError {
        OpenAIError(status: .badRequest, kind: .invalidRequest, message: message, param: param, code: code)
    }

    static func unknownModel(_ name: String) -> OpenAIError {
        OpenAIError(
            status: .notFound,
            kind: .notFound,
            message: "The model `\(name)` does not exist",
            param: "model",
            code: "model_not_found"
        )
    }

    static func noInstance(_ name: String) -> OpenAIError {
        OpenAIError(
            status: .serviceUnavailable,
            kind: .unavailable,
            message: "Model `\(name)` is known, but no worker that serves it is alive. Please retry shortly.",
            code: "model_not_ready"
        )
    }

    static func unprepared(_ name: String) -> OpenAIError {
        OpenAIError(
            status: .serviceUnavailable,
            kind: .unavailable,
            message:
                "Model `\(name)` is known, but this frontend is not ready to serve it: it reads the model's files, or learns "
                + "what its workers hold, or could not; its log tells. Please retry shortly.",
            code: "model_not_ready"
        )
    }

    static let draining = OpenAIError(
        status: .serviceUnavailable,
        kind: .unavailable,
        message: "This frontend is shutting down",
        code: "shutting_down"
    )

    /// What a worker reported.
    init(_ error: RemoteError) {
        switch error.kind {
        case .invalidArgument: self = .invalid(error.message)
        case .resourceExhausted:
            self.init(status: .serviceUnavailable, kind: .overloaded, message: error.message, code: "overloaded")
        case .unavailable:
            self.init(status: .serviceUnavailable, kind: .unavailable, message: error.message, code: "unavailable")
        default:
            self.init(status: .internalServerError, kind: .server, message: error.message, code: "worker_error")
        }
    }

    /// What went wrong on the way.
    init(_ error: RequestPlaneError) {
        if let cause = error.cause as? RemoteError, error.code == .remote {
            self.init(cause)
            return
        }
        let (status, kind): (HTTPResponse.Status, Kind) =
            switch error.code {
            case .noInstance, .connectFailed, .unavailable, .unknownEndpoint: (.serviceUnavailable, .unavailable)
            case .overloaded: (.serviceUnavailable, .overloaded)
            case .timedOut: (.gatewayTimeout, .server)
            case .tooLarge: (.contentTooLarge, .invalidRequest)
            case .streamEndedEarly, .protocolViolation: (.badGateway, .server)
            case .remote, .cancelled, .invalidConfiguration: (.internalServerError, .server)
            }
        self.init(status: status, kind: kind, message: error.description, code: error.code.rawValue)
    }

    init(status: HTTPResponse.Status, kind: Kind, message: String, param: String? = nil, code: String? = nil) {
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param
        self.code = code
    }
}
