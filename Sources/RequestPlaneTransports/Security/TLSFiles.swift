import NIOCore
import NIOSSL
import RequestPlane

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Reads the certificates and keys that the settings name; says which variable is wrong, and why.
struct TLSFiles {
    private let settings: TransportSecurity
    private typealias Variable = TransportSecurity.Variable

    /// How long the other side may take to answer the end of a TLS session before the connection is closed all the same.
    private static let shutdownTimeout = TimeAmount.seconds(1)

    init(_ settings: TransportSecurity) { self.settings = settings }

    /// What a server shows and demands; nil without TLS.
    ///
    /// - Throws: `RequestPlaneError` when the settings contradict each other or a file cannot be used.
    func serverContext() throws(RequestPlaneError) -> NIOSSLContext? {
        let identity = try self.identity(
            (Variable.certificate, self.settings.certificatePath),
            (Variable.key, self.settings.keyPath)
        )
        guard let identity else {
            guard self.settings.clientAuthorityPath == nil else {
                throw Self.error(
                    "\(Variable.clientAuthority) is set without \(Variable.certificate) and \(Variable.key): "
                        + "only a server with a certificate can ask clients for theirs; set these two, or unset it"
                )
            }
            return nil
        }
        var configuration: TLSConfiguration
        if let path = self.settings.clientAuthorityPath {
            configuration = .makeServerConfigurationWithMTLS(
                certificateChain: identity.chain,
                privateKey: .privateKey(identity.key),
                trustRoots: .certificates(try self.certificates(Variable.clientAuthority, path))
            )
        } else {
            configuration = .makeServerConfiguration(
                certificateChain: identity.chain,
                privateKey: .privateKey(identity.key)
            )
        }
        return try self.context(&configuration, Variable.certificate, Variable.key)
    }

    /// What a client trusts and shows; nil without TLS.
    ///
    /// - Throws: `RequestPlaneError` when the settings contradict each other or a file cannot be used.
    func clientContext() throws(RequestPlaneError) -> NIOSSLContext? {
        let identity = try self.identity(
            (Variable.clientCertificate, self.settings.clientCertificatePath),
            (Variable.clientKey, self.settings.clientKeyPath)
        )
        if let name = self.settings.serverName, LocalAddress.literal(name) != nil {
            throw Self.error(
                "\(Variable.serverName)='\(name)' is an address, and must be a DNS name; unset it: "
                    + "the address that is connected to is compared with the certificate then"
            )
        }
        var configuration = TLSConfiguration.makeClientConfiguration()
        if self.settings.isInsecure {
            configuration.certificateVerification = .none
        } else if let path = self.settings.authorityPath {
            configuration.trustRoots = .certificates(try self.certificates(Variable.authority, path))
        } else {
            guard identity == nil else {
                throw Self.error(
                    "\(Variable.clientCertificate) is set without \(Variable.authority): "
                        + "name the authority that the servers' certificates come from, or unset it"
                )
            }
            return nil
        }
        if let identity {
            configuration.certificateChain = identity.chain
            configuration.privateKey = .privateKey(identity.key)
        }
        return try self.context(&configuration, Variable.clientCertificate, Variable.clientKey)
    }

    // MARK: Parts

    private typealias Setting = (variable: String, path: String?)

    /// A certificate with its issuers, and its key; both or neither must be set.
    private func identity(
        _ certificate: Setting,
        _ key: Setting
    ) throws(RequestPlaneError) -> (chain: [NIOSSLCertificateSource], key: NIOSSLPrivateKey)? {
        switch (certificate.path, key.path) {
        case (nil, nil): return nil
        case (let certificatePath?, let keyPath?):
            let chain = try self.certificates(certificate.variable, certificatePath)
            try Self.checkReadable(key.variable, keyPath)
            do {
                return (chain.map { .certificate($0) }, try NIOSSLPrivateKey(file: keyPath, format: .pem))
            } catch {
                throw Self.error("\(key.variable)='\(keyPath)' holds no private key in PEM form without a pass phrase")
            }
        case (let path, _):
            let (present, missing) =
                path == nil ? (key.variable, certificate.variable) : (certificate.variable, key.variable)
            throw Self.error("\(present) is set without \(missing): set both, or neither")
        }
    }

    private func certificates(_ variable: String, _ path: String) throws(RequestPlaneError) -> [NIOSSLCertificate] {
        try Self.checkReadable(variable, path)
        let certificates = (try? NIOSSLCertificate.fromPEMFile(path)) ?? []
        guard !certificates.isEmpty else {
            throw Self.error("\(variable)='\(path)' holds no certificate in PEM form; name a file that does")
        }
        return certificates
    }

    private func context(
        _ configuration: inout TLSConfiguration,
        _ certificate: String,
        _ key: String
    ) throws(RequestPlaneError) -> NIOSSLContext {
        configuration.minimumTLSVersion = .tlsv12
        configuration.shutdownTimeout = Self.shutdownTimeout
        do { return try NIOSSLContext(configuration: configuration) } catch {
            throw RequestPlaneError(
                .invalidConfiguration,
                "the private key in \(key) does not fit the certificate in \(certificate), or one of them cannot be used",
                cause: error
            )
        }
    }

    private static func checkReadable(_ variable: String, _ path: String) throws(RequestPlaneError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw self.error(
                "cannot read \(variable)='\(path)': \(String(cString: strerror(errno))); "
                    + "name a file that this process may read, or unset it"
            )
        }
        close(descriptor)
    }

    private static func error(_ text: String) -> RequestPlaneError { RequestPlaneError(.invalidConfiguration, text) }
}
