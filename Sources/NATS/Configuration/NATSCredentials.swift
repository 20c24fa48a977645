/// How a client shows the server who it is.
///
/// The description names the kind only, never the secret.
package enum NATSCredentials: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    /// Nothing is sent.
    case none
    case userPassword(user: String, password: String)
    case token(String)
    /// The seed of a user's key pair, `SU...`; the server's nonce is signed with it.
    case nkey(seed: String)
    /// A file with the user's JWT and seed, as `nsc` writes it.
    case credentialsFile(String)

    package var description: String {
        switch self {
        case .none: "no credentials"
        case .userPassword: "a user and a password"
        case .token: "a token"
        case .nkey: "an nkey"
        case .credentialsFile(let path): "the credentials file \(path)"
        }
    }

    package var debugDescription: String { self.description }
}
