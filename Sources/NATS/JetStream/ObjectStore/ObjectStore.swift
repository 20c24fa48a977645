package import NIOCore

/// A bucket of NATS' object store: named objects in a stream, in chunks, each with its digest.
///
/// The form is that of all NATS clients, Dynamo's included. A reader sees an object whole or not at all: what describes it is written
/// after its chunks.
package struct ObjectStore: Sendable {
    package let jetStream: JetStream
    package let bucket: String
    private let isDirect: Bool

    /// Bytes of a chunk, if the server takes messages that large.
    package static let chunkSize = 128 * 1024

    private init(_ jetStream: JetStream, _ info: StreamInfo, bucket: String) {
        self.jetStream = jetStream
        self.bucket = bucket
        self.isDirect = info.configuration.allowsDirect
    }

    // MARK: Buckets

    /// How a bucket is kept.
    ///
    /// - Parameters:
    ///   - bucket: its name.
    ///   - storage: file or memory.
    /// - Returns: its stream's settings, as Dynamo has them.
    package static func configuration(
        of bucket: String,
        storage: StreamConfiguration.Storage = .file
    ) -> StreamConfiguration {
        var configuration = StreamConfiguration(
            name: Self.stream(of: bucket),
            subjects: ["$O.\(bucket).C.>", "$O.\(bucket).M.>"],
            storage: storage,
            discard: .new
        )
        configuration.allowsRollup = true
        configuration.allowsDirect = true
        return configuration
    }

    /// Opens a bucket, and creates it if there is none.
    ///
    /// - Parameters:
    ///   - bucket: letters, digits, `-` and `_`.
    ///   - jetStream: where.
    ///   - storage: of a new bucket.
    /// - Returns: the bucket.
    /// - Throws: `JetStreamError`.
    package static func create(
        _ bucket: String,
        in jetStream: JetStream,
        storage: StreamConfiguration.Storage = .file
    ) async throws(JetStreamError) -> ObjectStore {
        try Self.validate(bucket)
        let info = try await jetStream.createStreamIfAbsent(Self.configuration(of: bucket, storage: storage))
        return ObjectStore(jetStream, info, bucket: bucket)
    }

    /// Opens a bucket.
    ///
    /// - Parameters:
    ///   - bucket: its name.
    ///   - jetStream: where.
    /// - Returns: the bucket.
    /// - Throws: `JetStreamError`, `streamMissing` when there is none.
    package static func open(_ bucket: String, in jetStream: JetStream) async throws(JetStreamError) -> ObjectStore {
        try Self.validate(bucket)
        return ObjectStore(jetStream, try await jetStream.stream(Self.stream(of: bucket)), bucket: bucket)
    }

    /// Deletes a bucket with its objects.
    ///
    /// - Parameters:
    ///   - bucket: its name.
    ///   - jetStream: where.
    /// - Throws: `JetStreamError`, `streamMissing` when there is none.
    package static func delete(_ bucket: String, in jetStream: JetStream) async throws(JetStreamError) {
        try Self.validate(bucket)
        try await jetStream.deleteStream(Self.stream(of: bucket))
    }

    private static func stream(of bucket: String) -> String { "OBJ_\(bucket)" }

    private static func validate(_ bucket: String) throws(JetStreamError) {
        let allowed = bucket.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"): true
            default: false
            }
        }
        guard !bucket.isEmpty, bucket.utf8.count <= 240, allowed else {
            throw JetStreamError(
                .invalidArgument,
                "'\(Printable.text(bucket))' cannot be the name of an object-store bucket: "
                    + "letters, digits, - and _ are allowed"
            )
        }
    }

    // MARK: Objects

    /// Writes an object, in place of an older one of the same name.
    ///
    /// - Parameters:
    ///   - name: any text.
    ///   - content: may be large; it is sent in chunks, some at a time.
    /// - Returns: what is known of it now.
    /// - Throws: `JetStreamError`; the older object is then still there.
    @discardableResult
    package func put(_ name: String, _ content: ByteBuffer) async throws(JetStreamError) -> ObjectInfo {
        let former = try await self.infoIfAny(name)
        // Some bytes are for subject and headers.
        let chunkSize = min(Self.chunkSize, max(1, self.jetStream.connection.maximumPayload - 1024))
        var info = ObjectInfo(name: name, bucket: self.bucket, version: UniqueName.make(), chunkSize: chunkSize)
        do throws(JetStreamError) {
            let publisher = JetStreamPublisher(self.jetStream, window: 16)
            var digest = ObjectDigest()
            var rest = content
            while let chunk = rest.readSlice(length: min(chunkSize, rest.readableBytes)), chunk.readableBytes > 0 {
                digest.add(chunk)
                try await publisher.publish(StreamMessage(subject: self.chunkSubject(info.version), payload: chunk))
                info.chunks += 1
            }
            try await publisher.flush()
            guard publisher.statistics.disorders == 0 else {
                throw JetStreamError(
                    .damaged,
                    "the chunks of the object '\(Printable.text(name))' were stored in another order, because the connection was "
                        + "lost meanwhile; write it again"
                )
            }
            info.size = UInt64(content.readableBytes)
            info.digest = digest.text
            try await self.write(info)
        } catch {
            // Nobody will look for these chunks; when this fails too, the first error says why.
            _ = try? await self.jetStream.purge(self.streamName, .subject(self.chunkSubject(info.version)))
            throw error
        }
        if let former, !former.version.isEmpty { try await self.removeChunks(of: former) }
        return info
    }

    /// Reads an object.
    ///
    /// - Parameters:
    ///   - name: its name.
    ///   - limit: bytes that are read at most; larger ones are refused.
    /// - Returns: the content, whose digest was checked.
    /// - Throws: `JetStreamError`: `notFound`, `damaged`.
    package func get(_ name: String, limit: Int = 1 << 30) async throws(JetStreamError) -> ByteBuffer {
        let info = try await self.info(name)
        let title = self.title(name)
        guard !info.isLink else { throw JetStreamError(.refused, "\(title) is a link, and links are not followed") }
        guard info.size <= UInt64(max(0, limit)) else {
            throw JetStreamError(
                .refused,
                "\(title) has \(info.size) bytes, more than the \(limit) that are allowed here"
            )
        }
        var content = ByteBuffer()
        var digest = ObjectDigest()
        var sequence: UInt64 = 1
        while UInt64(content.readableBytes) < info.size {
            let chunk: StoredMessage
            do throws(JetStreamError) {
                chunk = try await self.jetStream.read(
                    .next(subject: self.chunkSubject(info.version), from: sequence),
                    from: self.streamName,
                    isDirect: self.isDirect
                )
            } catch  where error.code == .notFound {
                let read = content.readableBytes
                throw JetStreamError(
                    .damaged,
                    "\(title) has only \(read) of its \(info.size) bytes; it was replaced meanwhile or has lost chunks"
                )
            }
            digest.add(chunk.payload)
            content.writeImmutableBuffer(chunk.payload)
            sequence = chunk.sequence + 1
        }
        guard UInt64(content.readableBytes) == info.size, digest.matches(info.digest) else {
            throw JetStreamError(.damaged, "\(title) is damaged: its content does not have the digest that was noted")
        }
        return content
    }

    /// What is known of an object.
    ///
    /// - Parameter name: its name.
    /// - Returns: size, digest and time.
    /// - Throws: `JetStreamError`, `notFound` when there is none.
    package func info(_ name: String) async throws(JetStreamError) -> ObjectInfo {
        guard let info = try await self.infoIfAny(name), !info.isDeleted else {
            throw JetStreamError(.notFound, "there is no \(self.title(name))")
        }
        return info
    }

    /// Deletes an object.
    ///
    /// - Parameter name: its name.
    /// - Throws: `JetStreamError`, `notFound` when there is none.
    package func delete(_ name: String) async throws(JetStreamError) {
        var info = try await self.info(name)
        info.isDeleted = true
        info.size = 0
        info.chunks = 0
        info.digest = ""
        try await self.write(info)
        try await self.removeChunks(of: info)
    }

    /// All objects, by name.
    ///
    /// - Returns: what is known of each.
    /// - Throws: `JetStreamError`.
    package func list() async throws(JetStreamError) -> [ObjectInfo] {
        let stream = try await self.jetStream.stream(self.streamName, countingSubjects: "$O.\(self.bucket).M.>")
        var objects: [ObjectInfo] = []
        for subject in (stream.state.subjects ?? [:]).keys {
            guard let info = try await self.info(at: subject), !info.isDeleted else { continue }
            objects.append(info)
        }
        return objects.sorted { $0.name < $1.name }
    }

    // MARK: Inside

    private var streamName: String { Self.stream(of: self.bucket) }

    private func chunkSubject(_ version: String) -> String { "$O.\(self.bucket).C.\(version)" }

    private func metaSubject(_ name: String) -> String {
        "$O.\(self.bucket).M.\(ObjectDigest.base64(Array(name.utf8)))"
    }

    private func title(_ name: String) -> String { "object '\(Printable.text(name))' in the bucket '\(self.bucket)'" }

    private func infoIfAny(_ name: String) async throws(JetStreamError) -> ObjectInfo? {
        guard !name.isEmpty else { throw JetStreamError(.invalidArgument, "an object needs a name") }
        return try await self.info(at: self.metaSubject(name))
    }

    /// Through the stream's leader, as Dynamo does: a copy might not know the newest yet.
    private func info(at subject: String) async throws(JetStreamError) -> ObjectInfo? {
        do throws(JetStreamError) {
            let message = try await self.jetStream.read(
                .last(subject: subject),
                from: self.streamName,
                isDirect: false
            )
            return try JetStreamJSON.decode(ObjectInfo.self, message.payload, "read what describes an object")
        } catch  where error.code == .notFound {
            return nil
        }
    }

    private func write(_ info: ObjectInfo) async throws(JetStreamError) {
        let message = StreamMessage(
            subject: self.metaSubject(info.name),
            id: UniqueName.make(),
            headers: ["Nats-Rollup": "sub"],
            payload: try JetStreamJSON.encode(info)
        )
        try await self.jetStream.publish(message)
    }

    private func removeChunks(of info: ObjectInfo) async throws(JetStreamError) {
        guard !info.version.isEmpty else { return }
        try await self.jetStream.purge(self.streamName, .subject(self.chunkSubject(info.version)))
    }
}
