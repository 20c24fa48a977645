import NIOCore
import NIOSSL
import RequestPlane
import Synchronization

/// Puts TLS below the handlers of connections, if it is configured.
///
/// The files are read when the first connection needs them; every connection then uses what was read.
final class ConnectionSecurity: Sendable {
    private let settings: TransportSecurity
    private let contexts = Mutex(Contexts())

    private struct Contexts {
        /// Nil inside: read, and there is no TLS.
        var server: NIOSSLContext??
        var client: NIOSSLContext??
    }

    init(_ settings: TransportSecurity) { self.settings = settings }

    /// What servers need; nil without TLS.
    ///
    /// - Throws: `RequestPlaneError` when the settings contradict each other or a file cannot be used.
    func server() throws(RequestPlaneError) -> NIOSSLContext? {
        if let known = self.contexts.withLock({ $0.server }) { return known }
        let context = try TLSFiles(self.settings).serverContext()
        self.contexts.withLock { $0.server = .some(context) }
        return context
    }

    /// What clients need; nil without TLS.
    ///
    /// - Throws: `RequestPlaneError` when the settings contradict each other or a file cannot be used.
    func client() throws(RequestPlaneError) -> NIOSSLContext? {
        if let known = self.contexts.withLock({ $0.client }) { return known }
        let context = try TLSFiles(self.settings).clientContext()
        self.contexts.withLock { $0.client = .some(context) }
        return context
    }

    // MARK: Channels

    /// Prepares a connection that was accepted; call on its event loop, before other handlers are added.
    ///
    /// - Parameters:
    ///   - channel: the connection.
    ///   - onFailure: told why a handshake has failed.
    /// - Throws: `RequestPlaneError` when the files cannot be used, or an error of the pipeline.
    func secureAccepted(_ channel: any Channel, onFailure: @escaping @Sendable (String) -> Void) throws {
        guard let context = try self.server() else { return }
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(NIOSSLServerHandler(context: context))
        try pipeline.addHandler(
            HandshakeGate(
                .server,
                timeout: self.settings.handshakeTimeout,
                onEnd: { if let reason = $0 { onFailure(reason) } }
            )
        )
    }

    /// Prepares a connection that is about to be opened; call on its event loop, before other handlers are added.
    ///
    /// - Parameters:
    ///   - channel: the connection.
    ///   - host: the address or name that is connected to.
    /// - Returns: succeeds when application bytes can travel, fails with a `HandshakeFailure`; nil without TLS.
    /// - Throws: `RequestPlaneError` when the files cannot be used, or an error of the pipeline.
    func secureOpened(_ channel: any Channel, host: String) throws -> EventLoopFuture<Void>? {
        guard let context = try self.client() else { return nil }
        // Without a name the certificate is compared with the address of the connection.
        let name = self.settings.serverName ?? (LocalAddress.literal(host) == nil ? host : nil)
        let promise = channel.eventLoop.makePromise(of: Void.self)
        let pipeline = channel.pipeline.syncOperations
        do {
            try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: name))
            try pipeline.addHandler(
                HandshakeGate(.client, timeout: self.settings.handshakeTimeout) { reason in
                    if let reason { promise.fail(HandshakeFailure(reason)) } else { promise.succeed() }
                }
            )
        } catch {
            promise.fail(error)
            throw error
        }
        return promise.futureResult
    }
}

/// Why two processes could not agree on TLS.
struct HandshakeFailure: Error, Hashable, CustomStringConvertible {
    let description: String

    init(_ reason: String) { self.description = "TLS: \(reason)" }
}
