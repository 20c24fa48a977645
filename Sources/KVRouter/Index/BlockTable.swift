/// Where each block of a cache is in something else, such as its node in the tree: 12 bytes a slot and no allocation per entry.
///
/// Open addressing with linear probing; a removal shifts later entries back, so that nothing is left behind.
package struct BlockTable: Sendable, Hashable {
    /// The root is nobody's block: its index marks an empty slot.
    private static let empty: UInt32 = 0

    package private(set) var count = 0
    private var keys: [UInt64] = []
    private var nodes: [UInt32] = []

    package init() {}

    package var slots: Int { self.nodes.count }

    /// Bytes that the slots take.
    package var memory: Int { self.slots * (MemoryLayout<UInt64>.stride + MemoryLayout<UInt32>.stride) }

    /// - Returns: the node of the block; 0 when the worker does not have it.
    package func node(of block: BlockHash) -> UInt32 {
        guard self.slots > 0 else { return Self.empty }
        var slot = self.home(block.rawValue)
        while self.nodes[slot] != Self.empty {
            if self.keys[slot] == block.rawValue { return self.nodes[slot] }
            slot = self.after(slot)
        }
        return Self.empty
    }

    /// - Returns: the node that the block had before; 0 when it is new.
    package mutating func set(_ block: BlockHash, to node: UInt32) -> UInt32 {
        if (self.count + 1) * 5 > self.slots * 4 { self.grow() }
        var slot = self.home(block.rawValue)
        while self.nodes[slot] != Self.empty {
            if self.keys[slot] == block.rawValue {
                defer { self.nodes[slot] = node }
                return self.nodes[slot]
            }
            slot = self.after(slot)
        }
        self.keys[slot] = block.rawValue
        self.nodes[slot] = node
        self.count += 1
        return Self.empty
    }

    package mutating func remove(_ block: BlockHash) {
        guard self.slots > 0 else { return }
        var hole = self.home(block.rawValue)
        while self.keys[hole] != block.rawValue || self.nodes[hole] == Self.empty {
            if self.nodes[hole] == Self.empty { return }
            hole = self.after(hole)
        }
        self.count -= 1
        var slot = hole
        while true {
            slot = self.after(slot)
            if self.nodes[slot] == Self.empty { break }
            let home = self.home(self.keys[slot])
            // An entry stays where its home lies between the hole and itself, around the end of the table.
            if hole <= slot ? (hole < home && home <= slot) : (hole < home || home <= slot) { continue }
            self.keys[hole] = self.keys[slot]
            self.nodes[hole] = self.nodes[slot]
            hole = slot
        }
        self.nodes[hole] = Self.empty
    }

    /// The entry of a slot; nil when it is empty.
    package subscript(slot slot: Int) -> (block: BlockHash, node: UInt32)? {
        self.nodes[slot] == Self.empty ? nil : (BlockHash(rawValue: self.keys[slot]), self.nodes[slot])
    }

    private mutating func grow() {
        let (keys, nodes) = (self.keys, self.nodes)
        let slots = max(8, nodes.count + nodes.count / 2)
        self.keys = Array(repeating: 0, count: slots)
        self.nodes = Array(repeating: Self.empty, count: slots)
        for old in nodes.indices where nodes[old] != Self.empty {
            var slot = self.home(keys[old])
            while self.nodes[slot] != Self.empty { slot = self.after(slot) }
            self.keys[slot] = keys[old]
            self.nodes[slot] = nodes[old]
        }
    }

    /// Engines may count their blocks 1, 2, 3...: the multiplication spreads them.
    private func home(_ key: UInt64) -> Int {
        let mixed = (key ^ (key >> 32)) &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: mixed.multipliedFullWidth(by: UInt64(self.slots)).high)
    }

    private func after(_ slot: Int) -> Int { slot + 1 == self.slots ? 0 : slot + 1 }
}
