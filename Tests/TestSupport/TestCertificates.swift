package import Foundation

/// Certificates for TLS on loopback, made for one test.
package struct TestCertificates: Sendable {
    /// PEM files: who signed `server` and `client`, and somebody else.
    package let authority: String
    package let otherAuthority: String
    /// For 127.0.0.1 and localhost.
    package let server: Pair
    package let client: Pair

    /// A certificate and its key.
    package struct Pair: Sendable {
        package let certificate: String
        package let key: String
    }

    /// Makes them with the openssl command.
    ///
    /// - Parameter directory: where the files go.
    /// - Throws: `TestEnvironment.Missing` when openssl is not installed, or what it complains about.
    package init(in directory: URL) async throws {
        let authority = try await Self.make("authority", in: directory, signedBy: nil)
        self.authority = authority.certificate
        self.otherAuthority = try await Self.make("other", in: directory, signedBy: nil).certificate
        self.server = try await Self.make("localhost", in: directory, signedBy: authority)
        self.client = try await Self.make("client", in: directory, signedBy: authority)
    }

    private static func make(_ name: String, in directory: URL, signedBy authority: Pair?) async throws -> Pair {
        let openssl = "/usr/bin/openssl"
        guard FileManager.default.isExecutableFile(atPath: openssl) else {
            throw TestEnvironment.Missing(description: "\(openssl) is missing: start the tests with Tests/run.sh")
        }
        let pair = Pair(
            certificate: directory.appending(path: "\(name).pem").path(),
            key: directory.appending(path: "\(name).key").path()
        )
        var arguments = [
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=\(name)", "-keyout", pair.key, "-out", pair.certificate,
        ]
        if let authority {
            arguments += [
                "-CA", authority.certificate, "-CAkey", authority.key,
                "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=CA:FALSE",
            ]
        }
        let (output, exit) = try await withProgram(openssl, arguments) { running in
            try await running.waitForExit()
            return running.output
        }
        guard exit == .code(0) else { throw OutputMissing(text: "a certificate", ended: true, output: output) }
        return pair
    }
}
