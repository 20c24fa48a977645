package import KVRouter
package import NIOCore
import RequestPlane

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A `RouterEvent` in JSON: inside answers to queries, and in the durable mode (contract `kv-events.md`, sections 3 and 7).
package struct RouterEventJSON: Decodable, Sendable {
    package let event: RouterEvent

    /// Reads one event.
    ///
    /// - Parameter body: JSON text.
    /// - Returns: the event.
    /// - Throws: `DecodingError` when a field is missing or wrong; numbers below zero are wrong everywhere.
    package static func read(_ body: ByteBuffer) throws -> RouterEvent {
        try JSONDecoder().decode(Self.self, from: Data(body.readableBytesView)).event
    }

    private struct Event: Decodable {
        var event_id: UInt64
        var data: Change
        var dp_rank: UInt32?
    }

    private struct Change: Decodable {
        let change: KVEvent.Change

        private struct Members: Decodable {
            var stored: Stored?
            var removed: Removed?
        }

        private struct Stored: Decodable {
            var parent_hash: UInt64?
            var blocks: [Block]
        }

        private struct Block: Decodable {
            var block_hash: UInt64
            var tokens_hash: UInt64
        }

        private struct Removed: Decodable {
            var block_hashes: [UInt64]
        }

        init(from decoder: any Decoder) throws {
            if let name = try? decoder.singleValueContainer().decode(String.self), name == "cleared" {
                self.change = .cleared
                return
            }
            let members = try Members(from: decoder)
            if let stored = members.stored {
                self.change = .stored(
                    parent: stored.parent_hash.map(BlockHash.init(rawValue:)),
                    blocks: stored.blocks.map {
                        StoredBlock(
                            block: BlockHash(rawValue: $0.block_hash),
                            tokens: TokensHash(rawValue: $0.tokens_hash)
                        )
                    }
                )
            } else if let removed = members.removed {
                self.change = .removed(removed.block_hashes.map(BlockHash.init(rawValue:)))
            } else {
                throw DecodingError.dataCorrupted(
                    .init(codingPath: decoder.codingPath, debugDescription: "expected stored, removed or cleared")
                )
            }
        }
    }

    private enum Key: CodingKey {
        case worker_id
        case storage_tier
        case event
    }

    package init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Key.self)
        let event = try fields.decode(Event.self, forKey: .event)
        let tier = try fields.decodeIfPresent(String.self, forKey: .storage_tier) ?? StorageTier.device.rawValue
        guard let tier = StorageTier(rawValue: tier) else {
            throw DecodingError.dataCorruptedError(
                forKey: .storage_tier,
                in: fields,
                debugDescription: "unknown storage tier \(tier)"
            )
        }
        self.event = RouterEvent(
            worker: try fields.decode(UInt64.self, forKey: .worker_id),
            tier: tier,
            event: KVEvent(id: event.event_id, rank: event.dp_rank ?? 0, change: event.data.change)
        )
    }
}

extension ByteBuffer {
    /// Writes one event as JSON text.
    ///
    /// - Parameters:
    ///   - event: what to write.
    ///   - form: the release of those who read it.
    package mutating func writeRouterEventJSON(_ event: RouterEvent, form: DynamoEventForm) {
        self.writeStaticString(#"{"worker_id":"#)
        self.writeString(String(event.worker))
        self.writeStaticString(#","storage_tier":""#)
        self.writeString(event.tier.rawValue)
        self.writeStaticString(form == .release16 ? #"","residency_domain":"worker","event":{"# : #"","event":{"#)
        self.writeStaticString(#""event_id":"#)
        self.writeString(String(event.event.id))
        self.writeStaticString(#","data":"#)
        self.writeChangeJSON(event.event.change)
        self.writeStaticString(#","dp_rank":"#)
        self.writeString(String(event.event.rank))
        self.writeStaticString("}}")
    }

    private mutating func writeChangeJSON(_ change: KVEvent.Change) {
        switch change {
        case .stored(let parent, let blocks):
            self.writeStaticString(#"{"stored":{"parent_hash":"#)
            self.writeString(parent.map { String($0.rawValue) } ?? "null")
            self.writeStaticString(#","start_position":null,"blocks":["#)
            for (index, block) in blocks.enumerated() {
                self.writeStaticString(index > 0 ? #",{"block_hash":"# : #"{"block_hash":"#)
                self.writeString(String(block.block.rawValue))
                self.writeStaticString(#","tokens_hash":"#)
                self.writeString(String(block.tokens.rawValue))
                self.writeStaticString(#","mm_extra_info":null}"#)
            }
            self.writeStaticString("]}}")
        case .removed(let blocks):
            self.writeStaticString(#"{"removed":{"block_hashes":["#)
            for (index, block) in blocks.enumerated() {
                if index > 0 { self.writeStaticString(",") }
                self.writeString(String(block.rawValue))
            }
            self.writeStaticString("]}}")
        case .cleared: self.writeStaticString(#""cleared""#)
        }
    }
}
