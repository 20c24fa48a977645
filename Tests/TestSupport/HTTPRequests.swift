import AsyncHTTPClient
package import Foundation
import NIOCore
import NIOHTTP1

/// One HTTP answer, whole.
package struct HTTPReply: Sendable {
    package var status: Int
    package var body: Data
    package var text: String { String(decoding: self.body, as: UTF8.self) }

    /// The body as JSON object.
    ///
    /// - Returns: the decoded object.
    /// - Throws: when it is none.
    package func object() throws -> [String: Any] {
        guard let object = try JSONSerialization.jsonObject(with: self.body) as? [String: Any] else {
            throw URLError(.cannotParseResponse)
        }
        return object
    }
}

/// Plain HTTP requests for tests.
package enum HTTPRequests {
    /// GET.
    ///
    /// - Parameters:
    ///   - url: where.
    ///   - limit: how long it may take, in seconds.
    /// - Returns: the answer, whatever its status.
    /// - Throws: when there is none.
    package static func get(_ url: String, limit: Int64 = 30) async throws -> HTTPReply {
        try await self.perform(HTTPClientRequest(url: url), limit: limit)
    }

    /// POST of JSON.
    ///
    /// - Parameters:
    ///   - url: where.
    ///   - json: the body.
    ///   - limit: how long it may take, in seconds.
    /// - Returns: the answer, whatever its status.
    /// - Throws: when there is none.
    package static func post(_ url: String, json: String, limit: Int64 = 60) async throws -> HTTPReply {
        var request = HTTPClientRequest(url: url)
        request.method = .POST
        request.headers.add(name: "content-type", value: "application/json")
        request.body = .bytes(ByteBuffer(string: json))
        return try await self.perform(request, limit: limit)
    }

    private static func perform(_ request: HTTPClientRequest, limit: Int64) async throws -> HTTPReply {
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(limit))
        let body = try await response.body.collect(upTo: 64 << 20)
        return HTTPReply(status: Int(response.status.code), body: Data(body.readableBytesView))
    }
}
