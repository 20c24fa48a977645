package import NIOCore
import NIOSSL

extension GatewayTLS {
    /// Prepares connections of this process to a listener of its own.
    ///
    /// Whose certificate it is, is not asked: it names a public host, and the connection goes to an address of this machine.
    ///
    /// - Returns: what is done with a channel, on its event loop, before anything is sent.
    /// - Throws: an error of the TLS library.
    package static func connectingToItself() throws -> @Sendable (any Channel) throws -> Void {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        let context = try NIOSSLContext(configuration: configuration)
        return { channel in
            let handler = try NIOSSLClientHandler(context: context, serverHostname: nil)
            try channel.pipeline.syncOperations.addHandler(handler)
        }
    }
}
