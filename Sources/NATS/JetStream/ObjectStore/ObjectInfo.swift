import FoundationEssentials

/// What a bucket says of an object, in the form that all clients of NATS' object store share.
package struct ObjectInfo: Sendable, Hashable {
    package var name: String
    package var bucket: String
    /// The last part of the subject of its chunks, new with each version.
    package var version: String
    /// Bytes.
    package var size: UInt64
    package var chunks: Int
    /// When it was written, in the form of RFC 3339.
    package var modified: String
    /// The form is `SHA-256=` and base64 with `-` and `_`.
    package var digest: String
    package var isDeleted: Bool
    package var chunkSize: Int?
    /// Whether it only points to another object or bucket.
    package var isLink: Bool

    package init(name: String, bucket: String, version: String, chunkSize: Int) {
        self.name = name
        self.bucket = bucket
        self.version = version
        self.size = 0
        self.chunks = 0
        self.modified = Date.now.formatted(.iso8601.year().month().day().time(includingFractionalSeconds: true)) + "Z"
        self.digest = ""
        self.isDeleted = false
        self.chunkSize = chunkSize
        self.isLink = false
    }
}

extension ObjectInfo: Codable {
    private enum CodingKeys: String, CodingKey {
        case name, description, metadata, headers, options, bucket, size, chunks, digest
        case version = "nuid"
        case modified = "mtime"
        case isDeleted = "deleted"
    }

    private struct Options: Codable {
        var isLink: Bool
        var chunkSize: Int?

        enum CodingKeys: String, CodingKey {
            case link
            case chunkSize = "max_chunk_size"
        }

        init(chunkSize: Int?) {
            self.isLink = false
            self.chunkSize = chunkSize
        }

        init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            self.isLink = try values.contains(.link) && !values.decodeNil(forKey: .link)
            self.chunkSize = try values.decodeIfPresent(Int.self, forKey: .chunkSize)
        }

        func encode(to encoder: any Encoder) throws {
            var values = encoder.container(keyedBy: CodingKeys.self)
            try values.encodeNil(forKey: .link)
            try values.encode(self.chunkSize, forKey: .chunkSize)
        }
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.name = try values.decode(String.self, forKey: .name)
        self.bucket = try values.decode(String.self, forKey: .bucket)
        // What does not matter for an object without content may be left out.
        self.version = try values.decodeIfPresent(String.self, forKey: .version) ?? ""
        self.size = try values.decodeIfPresent(UInt64.self, forKey: .size) ?? 0
        self.chunks = try values.decodeIfPresent(Int.self, forKey: .chunks) ?? 0
        self.modified = try values.decodeIfPresent(String.self, forKey: .modified) ?? ""
        self.digest = try values.decodeIfPresent(String.self, forKey: .digest) ?? ""
        self.isDeleted = try values.decodeIfPresent(Bool.self, forKey: .isDeleted) ?? false
        let options = try values.decodeIfPresent(Options.self, forKey: .options)
        self.chunkSize = options?.chunkSize
        self.isLink = options?.isLink ?? false
    }

    /// With the empty fields that Dynamo's client writes, which others do not need.
    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(self.name, forKey: .name)
        try values.encodeNil(forKey: .description)
        try values.encode([String: String](), forKey: .metadata)
        try values.encodeNil(forKey: .headers)
        try values.encode(Options(chunkSize: self.chunkSize), forKey: .options)
        try values.encode(self.bucket, forKey: .bucket)
        try values.encode(self.version, forKey: .version)
        try values.encode(self.size, forKey: .size)
        try values.encode(self.chunks, forKey: .chunks)
        try values.encode(self.modified, forKey: .modified)
        try values.encode(self.digest, forKey: .digest)
        if self.isDeleted { try values.encode(true, forKey: .isDeleted) }
    }
}
