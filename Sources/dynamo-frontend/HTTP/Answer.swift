import Discovery
import HTTPTypes
import HummingbirdCore
import NIOCore

/// A response that is complete at once.
struct Answer: Sendable {
    var status: HTTPResponse.Status
    var contentType: String
    var body: ByteBuffer

    init(status: HTTPResponse.Status, contentType: String, body: ByteBuffer) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    init(_ status: HTTPResponse.Status, _ json: JSONValue) {
        self.init(status: status, contentType: "application/json", body: json.buffer)
    }

    init(_ error: OpenAIError) { self.init(error.status, error.json) }
}

// Like all that hold a writer these are concurrent: it belongs to no actor and cannot be sent to one.
extension ResponseWriter {
    @concurrent
    consuming func write(_ answer: Answer, withBody: Bool = true, headers: HTTPFields = [:]) async throws {
        var fields = headers
        fields[.contentType] = answer.contentType
        fields[.contentLength] = String(answer.body.readableBytes)
        let head = HTTPResponse(status: answer.status, headerFields: fields)
        try await self.write(response: head, body: withBody ? ResponseBody(byteBuffer: answer.body) : ResponseBody())
    }

    @concurrent
    consuming func write(_ error: OpenAIError, headers: HTTPFields = [:]) async throws {
        try await self.write(Answer(error), headers: headers)
    }
}

extension String {
    /// The text with `%XX` decoded; unchanged where that gives no UTF-8.
    var removingPercentEncoding: String {
        var bytes: [UInt8] = []
        var rest = self.utf8[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self) ?? self
    }
}
