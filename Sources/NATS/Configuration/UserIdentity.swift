/// What a user with a key pair shows a server: the key, and with a credentials file the token (JWT) that names it.
struct UserIdentity: Sendable {
    /// The JWT; nil when the server knows the key itself.
    let token: String?
    let key: NKey

    /// Reads what there is to read; nil for credentials without a key.
    ///
    /// A credentials file is read for each connection, so that a renewed one counts.
    ///
    /// - Throws: `NATSError` when the seed is none, or the file cannot be read or holds something else.
    init?(_ credentials: NATSCredentials) throws(NATSError) {
        switch credentials {
        case .none, .userPassword, .token: return nil
        case .nkey(let seed):
            self.token = nil
            self.key = try NKey(seed: seed)
        case .credentialsFile(let path):
            let bytes = try ReadableFile.contents(path, NATSConfiguration.credentialsPurpose)
            guard let (token, seed) = Self.parse(bytes) else {
                throw NATSError(
                    .invalidConfiguration,
                    "\(credentials) (NATS_AUTH_CREDENTIALS_FILE) cannot be used; it must hold the user's JWT and seed as nsc "
                        + "writes them"
                )
            }
            self.token = token
            do throws(NATSError) {
                self.key = try NKey(seed: seed)
            } catch {
                throw NATSError(.invalidConfiguration, "\(credentials) cannot be used: \(error.message)")
            }
        }
    }

    /// The two lines between those of dashes: the JWT first, then the seed.
    private static func parse(_ bytes: [UInt8]) -> (token: String, seed: String)? {
        let blank: Set<UInt8> = [UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r")]
        var values: [String] = []
        var isInside = false
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            let line = line.filter { !blank.contains($0) }
            if line.starts(with: [UInt8](repeating: UInt8(ascii: "-"), count: 3)) {
                isInside.toggle()
            } else if isInside, !line.isEmpty {
                values.append(String(decoding: line, as: UTF8.self))
            }
        }
        guard values.count == 2, !isInside, values[0].utf8.count(where: { $0 == UInt8(ascii: ".") }) == 2 else {
            return nil
        }
        return (values[0], values[1])
    }
}
