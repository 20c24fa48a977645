import FoundationEssentials
import NIOCore

/// JetStream, the storage of NATS: streams keep messages, consumers give them out until they are acknowledged.
///
/// It speaks JetStream's JSON interface over requests, because libnats' own calls block their thread. A server that is being
/// restarted is waited for, within bounds: a request that nobody takes is made again, as it had no effect.
package struct JetStream: Sendable {
    package let connection: NATSConnection
    /// How long one request may take.
    package let timeout: Duration
    /// How often a request that nobody takes is made.
    package let attempts: Int
    /// The wait between such requests.
    package let retryDelay: Duration

    /// - Parameters:
    ///   - connection: must outlive what is done with it.
    ///   - timeout: how long one request may take.
    ///   - attempts: how often a request that nobody takes is made; at least once.
    ///   - retryDelay: the wait between such requests.
    package init(
        _ connection: NATSConnection,
        timeout: Duration = .seconds(5),
        attempts: Int = 8,
        retryDelay: Duration = .milliseconds(250)
    ) {
        self.connection = connection
        self.timeout = timeout
        self.attempts = max(1, attempts)
        self.retryDelay = retryDelay
    }

    // MARK: Requests

    /// Asks JetStream's interface.
    ///
    /// - Parameters:
    ///   - name: the subject after `$JS.API.`.
    ///   - body: becomes JSON; nil sends nothing.
    ///   - action: for errors, as in "cannot <action>".
    /// - Returns: the answer.
    /// - Throws: `JetStreamError` for a refusal and for no answer.
    func ask<Reply: Decodable>(
        _ name: String,
        _ body: (any Encodable & Sendable)? = nil,
        to action: String
    ) async throws(JetStreamError) -> Reply {
        let payload = try body.map { body throws(JetStreamError) in try JetStreamJSON.encode(body) } ?? ByteBuffer()
        let reply = try await self.request("$JS.API.\(name)", payload: payload, to: action)
        if let error = try JetStreamJSON.decode(Refusal.self, reply.payload, action).error {
            throw JetStreamError(error, action)
        }
        return try JetStreamJSON.decode(Reply.self, reply.payload, action)
    }

    /// Makes a request, again while nobody takes it.
    func request(
        _ subject: String,
        headers: NATSHeaders = [:],
        payload: ByteBuffer = ByteBuffer(),
        to action: String
    ) async throws(JetStreamError) -> NATSMessage {
        var attempt = 1
        while true {
            do throws(NATSError) {
                return try await self.connection.request(
                    subject,
                    headers: headers,
                    payload: payload,
                    timeout: self.timeout
                )
            } catch {
                guard error.code == .noResponders else { throw JetStreamError(error, action) }
                guard attempt < self.attempts else {
                    let text =
                        "cannot \(action): JetStream does not answer on '\(subject)' at \(self.serverList); "
                        + "start nats-server with -js"
                    throw JetStreamError(.unavailable, text)
                }
            }
            attempt += 1
            try await self.pause(action)
        }
    }

    func pause(_ action: String) async throws(JetStreamError) {
        do { try await Task.sleep(for: self.retryDelay) } catch {
            throw JetStreamError(.cancelled, "waiting to \(action) was cancelled")
        }
    }

    var serverList: String { self.connection.configuration.serverList }

    /// What an answer holds when it is none.
    private struct Refusal: Decodable {
        var error: JetStreamError.ServerError?
    }

    /// What deletions and purges answer.
    struct Done: Decodable {
        var success: Bool
        var purged: UInt64?
    }

    /// - Throws: `JetStreamError` for what cannot be one part of a subject.
    static func validate(_ name: String, _ what: String) throws(JetStreamError) {
        let allowed = name.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F && !".*>/\\".utf8.contains($0) }
        guard !name.isEmpty, name.utf8.count <= 255, allowed else {
            throw JetStreamError(
                .invalidArgument,
                "'\(Printable.text(name))' cannot be the name of a \(what): it must not be empty or have spaces "
                    + "or any of . * > / \\"
            )
        }
    }
}
