import RequestPlane

/// A bucket of the store.
package enum DiscoveryBucket: String, Sendable, Hashable, CaseIterable {
    case instances = "v1/instances"
    case models = "v1/mdc"
    case eventChannels = "v1/event_channels"
    /// Dynamo 1.6 only.
    case eventSources = "v1/event_sources"
}

/// Where a record is stored.
///
/// Source: `discovery.md` 1.
package struct DiscoveryKey: Sendable, Hashable, Comparable {
    package var bucket: DiscoveryBucket
    /// The key inside the bucket, not escaped: `namespace/component/endpoint/id`.
    package var path: String

    package init(bucket: DiscoveryBucket, path: String) {
        self.bucket = bucket
        self.path = path
    }

    /// The key as etcd has it.
    package var full: String { "\(self.bucket.rawValue)/\(self.path)" }

    /// The key as a flat file name: everything that is no ASCII letter or digit becomes `%XX`.
    package var fileName: String {
        var name = ""
        for byte in self.path.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "A")...UInt8(ascii: "Z"):
                name.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let hex = String(byte, radix: 16, uppercase: true)
                name += hex.utf8.count == 1 ? "%0\(hex)" : "%\(hex)"
            }
        }
        return name
    }

    /// Reads a file name; hexadecimal digits in either case.
    ///
    /// - Returns: nil when an escape is broken or the name is not UTF-8.
    package init?(bucket: DiscoveryBucket, fileName: String) {
        var bytes: [UInt8] = []
        var rest = fileName.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(JSONScanner.hexDigit),
                let low = rest.popFirst().flatMap(JSONScanner.hexDigit)
            else { return nil }
            bytes.append(UInt8(high << 4 | low))
        }
        guard let path = String(validating: bytes, as: UTF8.self) else { return nil }
        self.init(bucket: bucket, path: path)
    }

    package static func < (lhs: Self, rhs: Self) -> Bool {
        (lhs.bucket.rawValue, lhs.path) < (rhs.bucket.rawValue, rhs.path)
    }
}
