/// Why bytes from a peer could not be read.
package enum WireError: Error, Hashable, CustomStringConvertible {
    /// A length announces more than the limit allows.
    case tooLarge(size: UInt64, limit: Int)
    /// The bytes do not follow the protocol; the text says where and why.
    case malformed(String)

    package var description: String {
        switch self {
        case .tooLarge(let size, let limit): "message too large: \(size) bytes (max: \(limit) bytes)"
        case .malformed(let text): text
        }
    }
}
