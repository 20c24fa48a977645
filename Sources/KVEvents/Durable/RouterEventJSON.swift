import FoundationEssentials
package import KVRouter
package import NIOCore

/// Router events as the durable stream holds them: plain JSON without an envelope (contract `kv-events.md`, section 7).
package enum RouterEventJSON {
    /// What a body that is no event has wrong.
    package struct Invalid: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    /// Writes an event with Dynamo's fields in Dynamo's order.
    ///
    /// - Parameters:
    ///   - event: what is written.
    ///   - hasTier: whether the storage tier is named, which 1.0.2 does not do.
    /// - Returns: the body of the message.
    package static func encode(_ event: RouterEvent, hasTier: Bool = true) -> ByteBuffer {
        // Written by hand: the order of the fields is Dynamo's, and a publisher does this for each event.
        var text = "{\"worker_id\":\(event.worker)"
        if hasTier { text += ",\"storage_tier\":\"\(event.tier.rawValue)\"" }
        text += ",\"event\":{\"event_id\":\(event.event.id),\"data\":"
        switch event.event.change {
        case .stored(let parent, let blocks):
            let parent = parent.map { "\($0.rawValue)" } ?? "null"
            text += "{\"stored\":{\"parent_hash\":\(parent),\"start_position\":null,\"blocks\":["
            for (index, block) in blocks.enumerated() {
                if index > 0 { text += "," }
                text += "{\"block_hash\":\(block.block.rawValue),\"tokens_hash\":\(block.tokens.rawValue),"
                text += "\"mm_extra_info\":null}"
            }
            text += "]}}"
        case .removed(let blocks):
            text += "{\"removed\":{\"block_hashes\":["
            text += blocks.map { "\($0.rawValue)" }.joined(separator: ",")
            text += "]}}"
        case .cleared: text += "\"cleared\""
        }
        text += ",\"dp_rank\":\(event.event.rank)}}"
        return ByteBuffer(string: text)
    }

    /// Reads an event; unknown fields are ignored.
    ///
    /// - Parameter body: of the message.
    /// - Returns: the event.
    /// - Throws: `Invalid` with what is wrong.
    package static func decode(_ body: ByteBuffer) throws(Invalid) -> RouterEvent {
        let read: Wire
        do { read = try JSONDecoder().decode(Wire.self, from: Data(body.readableBytesView)) } catch {
            throw Invalid(description: "the message is no router event in JSON: \(error)")
        }
        var tier = StorageTier.device
        if let name = read.storage_tier {
            guard let known = StorageTier(rawValue: name) else {
                throw Invalid(description: "the router event names an unknown storage tier '\(name.prefix(50))'")
            }
            tier = known
        }
        let event = KVEvent(id: read.event.event_id, rank: read.event.dp_rank ?? 0, change: read.event.data.change)
        return RouterEvent(worker: read.worker_id, tier: tier, event: event)
    }

    // The names are those on the wire.
    private struct Wire: Decodable {
        var worker_id: UInt64
        var storage_tier: String?
        var event: Event

        struct Event: Decodable {
            var event_id: UInt64
            var dp_rank: UInt32?
            var data: Change
        }

        struct Stored: Decodable {
            struct Block: Decodable {
                var block_hash: UInt64
                var tokens_hash: UInt64
            }
            var parent_hash: UInt64?
            var blocks: [Block]
        }

        struct Removed: Decodable { var block_hashes: [UInt64] }

        struct Change: Decodable {
            var change: KVEvent.Change

            enum CodingKeys: String, CodingKey { case stored, removed }

            init(from decoder: any Decoder) throws {
                if let name = try? decoder.singleValueContainer().decode(String.self) {
                    guard name == "cleared" else {
                        throw DecodingError.dataCorrupted(
                            .init(
                                codingPath: decoder.codingPath,
                                debugDescription: "unknown change '\(name.prefix(50))'"
                            )
                        )
                    }
                    self.change = .cleared
                    return
                }
                let values = try decoder.container(keyedBy: CodingKeys.self)
                if let removed = try values.decodeIfPresent(Removed.self, forKey: .removed) {
                    self.change = .removed(removed.block_hashes.map { BlockHash(rawValue: $0) })
                    return
                }
                let stored = try values.decode(Stored.self, forKey: .stored)
                self.change = .stored(
                    parent: stored.parent_hash.map { BlockHash(rawValue: $0) },
                    blocks: stored.blocks.map {
                        StoredBlock(
                            block: BlockHash(rawValue: $0.block_hash),
                            tokens: TokensHash(rawValue: $0.tokens_hash)
                        )
                    }
                )
            }
        }
    }
}
