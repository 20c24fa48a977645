package import NIOCore

/// Why a request gets an answer of the gateway itself, in the form that clients of OpenAI's interface understand.
package struct Refusal: Error, Hashable, Sendable {
    /// The status code.
    package var status: Int
    /// Short and stable, for programs.
    package var code: String
    /// For people: what, why, what to do.
    package var message: String
    /// Seconds after which another attempt makes sense.
    package var retryAfter: Int?

    package init(_ status: Int, _ code: String, _ message: String, retryAfter: Int? = nil) {
        self.status = status
        self.code = code
        self.message = message
        self.retryAfter = retryAfter
    }

    /// The request breaks the rules of HTTP.
    static func malformed(_ message: String) -> Refusal { Refusal(400, "malformed_request", message) }

    private var kind: String {
        switch self.status {
        case 429: "rate_limit_error"
        case 503: "service_unavailable"
        case 400..<500: "invalid_request_error"
        default: "server_error"
        }
    }

    private var reason: String {
        switch self.status {
        case 400: "Bad Request"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 417: "Expectation Failed"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        default: "Error"
        }
    }

    /// The whole answer.
    ///
    /// - Parameters:
    ///   - requestID: named in the answer, so that a client can say which of its requests was refused.
    ///   - withBody: false for a HEAD request.
    ///   - connection: what is said about the connection, if anything.
    /// - Returns: head and body.
    package func answer(requestID: String, withBody: Bool, connection: String?) -> ByteBuffer {
        let body =
            #"{"error":{"message":""# + Self.escaped(self.message) + #"","type":""# + self.kind
            + #"","param":null,"code":""# + Self.escaped(self.code) + #""}}"#
        var text =
            "HTTP/1.1 \(self.status) \(self.reason)\r\ncontent-type: application/json\r\n"
            + "content-length: \(body.utf8.count)\r\n"
        if let retryAfter = self.retryAfter { text += "retry-after: \(retryAfter)\r\n" }
        text += "x-request-id: \(requestID)\r\n"
        if let connection { text += "connection: \(connection)\r\n" }
        text += "\r\n"
        if withBody { text += body }
        return ByteBuffer(string: text)
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
