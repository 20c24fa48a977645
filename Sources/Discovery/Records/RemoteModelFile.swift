import AsyncHTTPClient
import NIOCore
import NIOHTTP1

/// Files of a model that a worker serves itself: from 1.6 on, one with a system port has URLs of it in its card instead of paths.
package enum RemoteModelFile {
    /// Why there is no content.
    package struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
        package var description: String
    }

    /// The largest tokenizers have some tens of megabytes.
    private static let limit = 512 << 20
    private static let patience = TimeAmount.seconds(30)

    /// Whether a card's path is such a URL.
    ///
    /// - Parameter path: of a file in a card.
    /// - Returns: whether it is to be fetched.
    package static func isURL(_ path: String) -> Bool { path.hasPrefix("http://") || path.hasPrefix("https://") }

    /// Fetches a file.
    ///
    /// - Parameter url: where it is.
    /// - Returns: its bytes.
    /// - Throws: why it cannot be had now.
    package static func content(of url: String) async throws(Failure) -> [UInt8] {
        let status: HTTPResponseStatus
        let body: ByteBuffer
        do {
            let response = try await HTTPClient.shared.execute(HTTPClientRequest(url: url), timeout: self.patience)
            status = response.status
            body = try await response.body.collect(upTo: self.limit)
        } catch {
            throw Failure(description: "\(error)")
        }
        guard status == .ok else { throw Failure(description: "it answers \(status)") }
        return Array(body.readableBytesView)
    }
}
