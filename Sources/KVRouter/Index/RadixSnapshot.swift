/// The object in which routers of 1.2.1 keep their tree in JetStream mode (contract `kv-events.md`, section 7).
///
/// Little endian, no padding. What an object holds beyond what is understood here is an error, not left out.
package enum RadixSnapshot {
    /// The body of an object for these events.
    package static func encode(_ events: [RouterEvent]) -> [UInt8] {
        var bytes: [UInt8] = []
        func append<Number: FixedWidthInteger>(_ number: Number) {
            withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
        }
        append(UInt64(events.count))
        for event in events {
            append(event.worker)
            append(event.tier.number)
            append(event.event.id)
            switch event.event.change {
            case .stored(let parent, let blocks):
                append(0 as UInt32)
                append((parent == nil ? 0 : 1) as UInt8)
                if let parent { append(parent.rawValue) }
                append(0 as UInt8)
                append(UInt64(blocks.count))
                for block in blocks {
                    append(block.block.rawValue)
                    append(block.tokens.rawValue)
                    append(0 as UInt8)
                }
            case .removed(let blocks):
                append(1 as UInt32)
                append(UInt64(blocks.count))
                for block in blocks { append(block.rawValue) }
            case .cleared: append(2 as UInt32)
            }
            append(event.event.rank)
        }
        return bytes
    }

    /// The events of an object.
    ///
    /// - Parameter bytes: the object's body.
    /// - Returns: the events, parents first.
    /// - Throws: where the body is not a snapshot of 1.2.1.
    package static func decode(_ bytes: [UInt8]) throws(RadixSnapshotError) -> [RouterEvent] {
        var reader = Reader(bytes: bytes)
        let count = try reader.count(of: "events", each: 33)
        var events: [RouterEvent] = []
        events.reserveCapacity(count)
        for _ in 0..<count { events.append(try reader.event()) }
        guard reader.offset == bytes.count else {
            throw RadixSnapshotError(
                offset: reader.offset,
                reason: "\(bytes.count - reader.offset) bytes are left over"
            )
        }
        return events
    }

    private struct Reader {
        let bytes: [UInt8]
        var offset = 0

        mutating func event() throws(RadixSnapshotError) -> RouterEvent {
            let worker = try self.number(UInt64.self)
            let tier = try self.number(UInt32.self)
            guard let tier = StorageTier.allCases.first(where: { $0.number == tier }) else {
                throw self.error("storage tier \(tier) is unknown")
            }
            let id = try self.number(UInt64.self)
            let change = try self.change()
            let rank = try self.number(UInt32.self)
            return RouterEvent(worker: worker, tier: tier, event: KVEvent(id: id, rank: rank, change: change))
        }

        private mutating func change() throws(RadixSnapshotError) -> KVEvent.Change {
            switch try self.number(UInt32.self) {
            case 0: return try self.stored()
            case 1:
                let count = try self.count(of: "blocks", each: 8)
                var blocks: [BlockHash] = []
                for _ in 0..<count { blocks.append(BlockHash(rawValue: try self.number(UInt64.self))) }
                return .removed(blocks)
            case 2: return .cleared
            case let kind: throw self.error("kind \(kind) of event is unknown")
            }
        }

        private mutating func stored() throws(RadixSnapshotError) -> KVEvent.Change {
            let parent = try self.flag() ? BlockHash(rawValue: try self.number(UInt64.self)) : nil
            if try self.flag() { throw self.error("a start position is set, which is not known to occur") }
            let count = try self.count(of: "blocks", each: 17)
            var blocks: [StoredBlock] = []
            blocks.reserveCapacity(count)
            for _ in 0..<count {
                let block = BlockHash(rawValue: try self.number(UInt64.self))
                let tokens = TokensHash(rawValue: try self.number(UInt64.self))
                if try self.flag() { try self.skipMultimodalObjects() }
                blocks.append(StoredBlock(block: block, tokens: tokens))
            }
            return .stored(parent: parent, blocks: blocks)
        }

        /// They are in `tokens_hash` already, and nothing is matched with them.
        private mutating func skipMultimodalObjects() throws(RadixSnapshotError) {
            for _ in 0..<(try self.count(of: "multimodal objects", each: 16)) {
                _ = try self.number(UInt64.self)
                for _ in 0..<(try self.count(of: "offsets", each: 16)) {
                    _ = try self.number(UInt64.self)
                    _ = try self.number(UInt64.self)
                }
            }
        }

        private mutating func flag() throws(RadixSnapshotError) -> Bool {
            switch try self.number(UInt8.self) {
            case 0: return false
            case 1: return true
            case let flag: throw self.error("\(flag) is neither 0 nor 1")
            }
        }

        /// A count that the rest of the body can hold: a wrong one must not reserve memory.
        mutating func count(of what: String, each size: Int) throws(RadixSnapshotError) -> Int {
            let count = try self.number(UInt64.self)
            guard count <= UInt64((self.bytes.count - self.offset) / min(size, 24)) else {
                throw self.error("\(count) \(what) do not fit")
            }
            return Int(count)
        }

        mutating func number<Number: FixedWidthInteger>(_: Number.Type) throws(RadixSnapshotError) -> Number {
            let size = MemoryLayout<Number>.size
            guard self.bytes.count - self.offset >= size else { throw self.error("it ends here") }
            let offset = self.offset
            self.offset += size
            return self.bytes.withUnsafeBytes {
                Number(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Number.self))
            }
        }

        private func error(_ reason: String) -> RadixSnapshotError { .init(offset: self.offset, reason: reason) }
    }
}

/// Why an object is not a snapshot.
package struct RadixSnapshotError: Error, Hashable, CustomStringConvertible {
    /// Where in the body, in bytes.
    package var offset: Int
    package var reason: String

    package var description: String {
        "the router snapshot cannot be read at byte \(self.offset): \(self.reason); "
            + "delete the object `radix-state` of the bucket if another Dynamo version wrote it"
    }
}

extension StorageTier {
    fileprivate var number: UInt32 {
        switch self {
        case .device: 0
        case .hostPinned: 1
        case .disk: 2
        case .external: 3
        }
    }
}
