import NIOCore
import RequestPlane

/// What an instance's server has answered; the acknowledgement of the HTTP plane.
struct HTTPResponse: Hashable, Sendable {
    var status: Int
    /// The size of the largest body that the server takes, if it has said so.
    var maximumBody: Int?
    /// The beginning of the body.
    private(set) var text = ByteBuffer()

    /// As much of a body as is worth reading.
    private static let textLimit = 4096

    init(status: Int, maximumBody: Int? = nil, text: String = "") {
        self.status = status
        self.maximumBody = maximumBody
        self.append(ByteBuffer(string: text))
    }

    /// Adds a part of the body; what is beyond the limit is dropped.
    mutating func append(_ bytes: ByteBuffer) {
        let room = Self.textLimit - self.text.readableBytes
        guard room > 0, bytes.readableBytes > 0 else { return }
        self.text.writeBytes(bytes.readableBytesView.prefix(room))
    }

    /// Why the request is not answered; nil when it was accepted.
    ///
    /// - Parameter reason: the words that belong to the status.
    /// - Returns: the failure in the words of the server.
    func failure(reason: String) -> PlaneFailure? {
        if 200..<300 ~= self.status { return nil }
        let text = String(decoding: self.text.readableBytesView, as: UTF8.self)
        let message = "HTTP request failed with status \(self.status) \(reason)\(text.isEmpty ? "" : ": \(text)")"
        switch self.status {
        case 404: return PlaneFailure(.unknownEndpoint, message)
        case 413:
            let limit = self.maximumBody.map { " this server takes \($0) bytes;" } ?? ""
            return PlaneFailure(.tooLarge, "\(message);\(limit) \(HTTPBodyLimit.advice)")
        case 503 where text.hasPrefix(TCPAcknowledgement.overloadedPrefix), 429:
            return PlaneFailure(.overloaded, message)
        case 502, 503, 504: return PlaneFailure(.unavailable, message)
        default: return PlaneFailure(.remote, message)
        }
    }
}
