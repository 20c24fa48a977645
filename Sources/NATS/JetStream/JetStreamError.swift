/// Why something about JetStream did not work.
package struct JetStreamError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: String, Sendable, Hashable, CaseIterable {
        /// A name or setting cannot be sent.
        case invalidArgument
        /// The server or the account has no JetStream, or it does not answer yet.
        case unavailable
        /// There is no such stream, or none takes the subject.
        case streamMissing
        /// There is no such consumer.
        case consumerMissing
        /// There is no such message or object.
        case notFound
        /// A stream exists with other settings than those asked for.
        case differs
        /// The server refuses; `server` says why.
        case refused
        /// What is stored is not what was written, or an answer makes no sense.
        case damaged
        /// No answer in time; whether the server did it is not known.
        case timedOut
        /// The waiting task was cancelled.
        case cancelled
        /// The connection cannot take the request.
        case connection
    }

    /// The server's own words.
    package struct ServerError: Error, Sendable, Hashable, Decodable {
        /// Like an HTTP status.
        package var code: Int
        /// Which error exactly; 0 from old servers.
        package var number: Int
        package var text: String

        private enum CodingKeys: String, CodingKey {
            case code
            case number = "err_code"
            case text = "description"
        }

        package init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            self.code = try container.decodeIfPresent(Int.self, forKey: .code) ?? 0
            self.number = try container.decodeIfPresent(Int.self, forKey: .number) ?? 0
            self.text = Printable.text(try container.decodeIfPresent(String.self, forKey: .text) ?? "")
        }
    }

    package var code: Code
    /// What, where, why and what to do, in words for the person who reads the log.
    package var message: String
    package var server: ServerError?

    package init(_ code: Code, _ message: String, server: ServerError? = nil) {
        self.code = code
        self.message = message
        self.server = server
    }

    package var description: String { "\(self.message) (\(self.code.rawValue))" }
}

extension JetStreamError {
    /// What a failed request means.
    init(_ error: NATSError, _ action: String) {
        let code: Code =
            switch error.code {
            case .timedOut: .timedOut
            case .cancelled: .cancelled
            case .noResponders: .unavailable
            case .invalidArgument, .payloadTooLarge: .invalidArgument
            default: .connection
            }
        self.init(code, "cannot \(action): \(error.message)")
    }

    /// What a refusal means.
    init(_ error: ServerError, _ action: String) {
        let (code, remedy): (Code, String) =
            switch error.number {
            case 10059: (.streamMissing, "")
            case 10014: (.consumerMissing, "")
            case 10037: (.notFound, "")
            case 10039, 10076: (.unavailable, "; start nats-server with -js, or allow JetStream for the account")
            case 10008, 10009: (.unavailable, "")
            case 10058, 10065: (.differs, "")
            default: (.refused, "")
            }
        self.init(
            code,
            "cannot \(action): the NATS server says '\(error.text)' (\(error.code), \(error.number))\(remedy)",
            server: error
        )
    }
}
