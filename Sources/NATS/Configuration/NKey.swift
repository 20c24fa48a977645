import Crypto

/// A user's Ed25519 key pair in the text form of NATS.
///
/// A seed is the base-32 text of two prefix bytes (kind and role), 32 bytes of seed and a CRC-16 in little-endian order;
/// a public key is that of one prefix byte, 32 bytes and a CRC-16.
struct NKey: Sendable {
    /// What the server knows the user by, `U...`.
    let publicKey: String
    private let key: Curve25519.Signing.PrivateKey

    /// - Parameter seed: the text that begins with `SU`.
    /// - Throws: `NATSError` when it is none; the message does not repeat it.
    init(seed: String) throws(NATSError) {
        func invalid(_ reason: String) -> NATSError {
            NATSError(
                .invalidConfiguration,
                "the nkey seed (NATS_AUTH_NKEY) \(reason); it must be the 58 characters of a user's seed, "
                    + "which begin with SU, as 'nk -gen user' prints them"
            )
        }
        let text = seed.utf8.filter { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
        guard let bytes = Base32.decode(text) else { throw invalid("has characters that no seed has") }
        guard bytes.count == 36 else { throw invalid("has the wrong length") }
        let checksum = UInt16(bytes[34]) | UInt16(bytes[35]) << 8
        guard CRC16.checksum(bytes[..<34]) == checksum else { throw invalid("is damaged: its checksum is wrong") }
        guard bytes[0] & 0xF8 == Self.seedPrefix else { throw invalid("is not a seed") }
        guard (bytes[0] & 0x07) << 5 | bytes[1] >> 3 == Self.userPrefix else { throw invalid("is not a user's") }
        do {
            self.key = try Curve25519.Signing.PrivateKey(rawRepresentation: bytes[2..<34])
        } catch {
            throw invalid("holds no key")
        }
        self.publicKey = Self.text(prefix: Self.userPrefix, self.key.publicKey.rawRepresentation)
    }

    /// Signs what the server sent.
    func signature(of nonce: [UInt8]) -> [UInt8]? {
        (try? self.key.signature(for: nonce)).map { [UInt8]($0) }
    }

    private static let seedPrefix: UInt8 = 18 << 3
    private static let userPrefix: UInt8 = 20 << 3

    private static func text(prefix: UInt8, _ key: some Sequence<UInt8>) -> String {
        var bytes = [prefix] + key
        let checksum = CRC16.checksum(bytes[...])
        bytes.append(UInt8(truncatingIfNeeded: checksum))
        bytes.append(UInt8(truncatingIfNeeded: checksum >> 8))
        return Base32.encode(bytes)
    }
}
