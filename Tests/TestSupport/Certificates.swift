package import Foundation

/// Certificates that a test makes for itself with the `openssl` command.
package struct Certificates: Sendable {
    private let folder: URL

    /// Certificates could not be made.
    package struct Failed: Error, CustomStringConvertible {
        package let description: String
    }

    /// Makes two authorities and what the first one signs.
    ///
    /// - Parameter folder: where the files go.
    /// - Throws: `Failed` with what `openssl` said.
    package init(in folder: URL) async throws {
        self.folder = folder
        let script = """
            set -e
            authority() {
              openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$1" \
                -keyout "$1.key" -out "$1.pem" -addext basicConstraints=critical,CA:true
            }
            signed() { # name, authority, subject alternative names, extended key usage
              openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
                -keyout "$1.key" -out "$1.csr"
              openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 2 -out "$1.pem" \
                -extfile <(printf 'basicConstraints=CA:false\\nsubjectAltName=%s\\nextendedKeyUsage=%s' "$3" "$4")
            }
            authority ca
            authority other
            signed server ca "IP:127.0.0.1,DNS:localhost" serverAuth
            signed named ca "DNS:worker.test" serverAuth
            signed client ca "DNS:client.test" clientAuth
            signed stranger other "DNS:stranger.test" clientAuth
            echo done
            """
        _ = try await withProgram("/bin/bash", ["-c", script], workingDirectory: folder.path) { program in
            do { try await program.waitForOutput("done\n", within: .seconds(20)) } catch {
                throw Failed(description: "openssl could not make certificates (is it installed?): \(program.output)")
            }
        }
    }

    /// The path of a certificate: `ca`, `other`, `server`, `named`, `client` or `stranger`.
    package func certificate(_ name: String) -> String { self.folder.appending(path: "\(name).pem").path }

    /// The path of its key.
    package func key(_ name: String) -> String { self.folder.appending(path: "\(name).key").path }
}
