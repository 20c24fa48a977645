import Crypto
import FoundationEssentials
import NIOCore

/// The digest of an object's content, and the names that the object store writes in base64.
struct ObjectDigest {
    private static let prefix = "SHA-256="
    private var hash = SHA256()

    mutating func add(_ bytes: ByteBuffer) { bytes.withUnsafeReadableBytes { self.hash.update(bufferPointer: $0) } }

    /// As it stands in an object's information.
    var text: String { Self.prefix + Self.base64(Array(self.hash.finalize())) }

    /// Whether the content has a digest; the padding does not count, which some clients leave out.
    func matches(_ text: String) -> Bool {
        func bare(_ text: String) -> Substring { text[...].trimmingSuffix("=") }
        return bare(text) == bare(self.text)
    }

    /// Base64 with `-` and `_` and padding.
    static func base64(_ bytes: [UInt8]) -> String {
        String(
            Data(bytes).base64EncodedString().map { character in
                switch character {
                case "+": "-"
                case "/": "_"
                default: character
                }
            }
        )
    }
}

extension Substring {
    fileprivate func trimmingSuffix(_ character: Character) -> Substring {
        var text = self
        while text.last == character { text.removeLast() }
        return text
    }
}
