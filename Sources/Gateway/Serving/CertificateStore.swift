import NIOSSL
import Synchronization

/// The certificate of a listener: read when it opens and whenever it is asked to; connections keep what they began with.
final class CertificateStore: Sendable {
    private let files: GatewayTLS
    private let listener: GatewayListener
    private let current: Mutex<NIOSSLContext>

    /// Reads the files.
    ///
    /// - Throws: `GatewayError` when one of them cannot be used.
    init(_ files: GatewayTLS, for listener: GatewayListener) throws(GatewayError) {
        self.files = files
        self.listener = listener
        self.current = Mutex(try Self.read(files, listener))
    }

    var context: NIOSSLContext { self.current.withLock { $0 } }

    /// Reads the files again; what was there stays when one of them cannot be used.
    ///
    /// - Throws: `GatewayError` when one of them cannot be used.
    func reload() throws(GatewayError) {
        let context = try Self.read(self.files, self.listener)
        self.current.withLock { $0 = context }
    }

    private static func read(_ files: GatewayTLS, _ listener: GatewayListener) throws(GatewayError) -> NIOSSLContext {
        let chain: [NIOSSLCertificate]
        do { chain = try NIOSSLCertificate.fromPEMFile(files.certificatePath) } catch {
            throw listener.error(
                "the certificate '\(files.certificatePath)' cannot be read as PEM (\(error))",
                "name a readable file with the certificate and its issuers"
            )
        }
        guard !chain.isEmpty else {
            throw listener.error(
                "'\(files.certificatePath)' holds no certificate",
                "name a file with the certificate and its issuers"
            )
        }
        let key: NIOSSLPrivateKey
        do { key = try NIOSSLPrivateKey(file: files.keyPath, format: .pem) } catch {
            throw listener.error(
                "the key '\(files.keyPath)' cannot be read as PEM (\(error))",
                "name a readable file with a private key without pass phrase"
            )
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) },
            privateKey: .privateKey(key)
        )
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        do { return try NIOSSLContext(configuration: configuration) } catch {
            throw listener.error(
                "the key '\(files.keyPath)' does not fit the certificate '\(files.certificatePath)' (\(error))",
                "name files that belong together"
            )
        }
    }
}
