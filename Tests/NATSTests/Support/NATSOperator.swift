import Crypto
import Foundation

@testable import NATS

/// The keys and tokens of a server in operator mode, which alone takes credentials files.
struct NATSOperator {
    /// For the server's configuration file.
    let serverConfiguration: String
    /// The text of a credentials file of a user.
    let credentials: String

    init() throws {
        let (operatorKey, accountKey, userKey) = (Key(prefix: 14 << 3), Key(prefix: 0), Key(prefix: 20 << 3))
        let operatorToken = try operatorKey.sign(
            #"{"jti":"1","iat":1,"iss":"\#(operatorKey.text)","name":"o","sub":"\#(operatorKey.text)","#
                + #""nats":{"type":"operator","version":2}}"#
        )
        let accountToken = try operatorKey.sign(
            #"{"jti":"2","iat":1,"iss":"\#(operatorKey.text)","name":"a","sub":"\#(accountKey.text)","#
                + #""nats":{"limits":{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"#
                + #""conn":-1,"leaf":-1},"default_permissions":{"pub":{},"sub":{}},"type":"account","version":2}}"#
        )
        let userToken = try accountKey.sign(
            #"{"jti":"3","iat":1,"iss":"\#(accountKey.text)","name":"u","sub":"\#(userKey.text)","#
                + #""nats":{"pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1,"type":"user","version":2}}"#
        )
        self.serverConfiguration = """
            operator: \(operatorToken)
            resolver: MEMORY
            resolver_preload: { \(accountKey.text): \(accountToken) }
            """
        self.credentials = """
            -----BEGIN NATS USER JWT-----
            \(userToken)
            ------END NATS USER JWT------

            -----BEGIN USER NKEY SEED-----
            \(userKey.seed)
            ------END USER NKEY SEED------

            """
    }

    /// A key pair of any role.
    struct Key {
        let prefix: UInt8
        let key = Curve25519.Signing.PrivateKey()

        var text: String { Self.withChecksum([self.prefix] + self.key.publicKey.rawRepresentation) }

        var seed: String {
            let first = UInt8(18 << 3) | self.prefix >> 5
            return Self.withChecksum([first, self.prefix << 3] + self.key.rawRepresentation)
        }

        func sign(_ claims: String) throws -> String {
            let parts = [#"{"typ":"JWT","alg":"ed25519-nkey"}"#, claims].map { Self.base64(Data($0.utf8)) }
            let text = parts.joined(separator: ".")
            return text + "." + Self.base64(try self.key.signature(for: Data(text.utf8)))
        }

        private static func withChecksum(_ bytes: [UInt8]) -> String {
            let checksum = CRC16.checksum(bytes[...])
            return Base32.encode(bytes + [UInt8(truncatingIfNeeded: checksum), UInt8(checksum >> 8)])
        }

        private static func base64(_ data: Data) -> String {
            data.base64EncodedString().replacingOccurrences(of: "+", with: "-")
                .replacingOccurrences(of: "/", with: "_").replacingOccurrences(of: "=", with: "")
        }
    }
}
