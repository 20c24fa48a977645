/// A digest of texts, by which a change of them is seen.
enum TextDigest {
    /// FNV-1a of 64 bits, in hexadecimal digits: nobody attacks it, and it needs no library.
    static func of(_ text: String) -> String {
        var digest: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { digest = (digest ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return String(digest, radix: 16)
    }
}
