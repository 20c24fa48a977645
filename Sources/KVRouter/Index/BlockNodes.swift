/// The nodes of a radix tree and the edges between them, by index: 20 bytes a node and about 6 an edge.
///
/// A node is a block in its prefix. Nodes lie in pages and edges in segments that grow alone, so that no insertion ever
/// copies everything.
struct BlockNodes {
    static let root: UInt32 = 0
    private static let pageBits: UInt32 = 12
    private static let segmentBits = 12

    private struct Node {
        // Two halves: as one number they would cost four bytes of padding.
        var tokensLow: UInt32
        var tokensHigh: UInt32
        var parent: UInt32
        /// Children, and block hashes of workers that stand for this node; at 0 the node is free.
        var references: UInt32
        var holders: HolderSets.Reference

        var tokens: UInt64 { UInt64(self.tokensHigh) << 32 | UInt64(self.tokensLow) }
    }

    private var pages: [[Node]] = []
    private var end: UInt32 = 0
    /// Free nodes are chained by their parents; the root ends the chain.
    private var free = Self.root
    private var segments: [[UInt32]]
    private var used: [UInt32]

    /// Nodes in use, without the root.
    private(set) var count = 0

    init() {
        self.segments = Array(repeating: [], count: 1 << Self.segmentBits)
        self.used = Array(repeating: 0, count: 1 << Self.segmentBits)
        _ = self.append(Node(tokensLow: 0, tokensHigh: 0, parent: Self.root, references: 0, holders: .none))
    }

    /// Bytes that nodes and edges take.
    var memory: Int {
        let nodes = self.pages.reduce(0) { $0 + $1.capacity } * MemoryLayout<Node>.stride
        return nodes + self.segments.reduce(0) { $0 + $1.capacity } * MemoryLayout<UInt32>.stride
    }

    func parent(of node: UInt32) -> UInt32 { self[node].parent }
    func tokens(of node: UInt32) -> TokensHash { TokensHash(rawValue: self[node].tokens) }

    /// Who has the block; what the reference means is up to the tree's sets.
    subscript(holders node: UInt32) -> HolderSets.Reference {
        get { self[node].holders }
        set { self[node].holders = newValue }
    }

    /// - Returns: the child; the root when there is none.
    func child(of parent: UInt32, _ tokens: TokensHash) -> UInt32 {
        // Blocks that came one after the other lie so: most of a long prompt is found without a look at the edges, in memory that
        // the processor has fetched already. A free node keeps its tokens, and may name the root.
        let next = parent + 1
        if next < self.end {
            let candidate = self[next]
            if candidate.parent == parent, candidate.tokens == tokens.rawValue, candidate.references > 0 { return next }
        }
        let hash = Self.hash(parent, tokens.rawValue)
        let segment = Self.segment(hash)
        let slots = self.segments[segment].count
        guard slots > 0 else { return Self.root }
        var slot = Self.home(hash, slots)
        while true {
            let node = self.segments[segment][slot]
            if node == Self.root { return Self.root }
            let candidate = self[node]
            if candidate.parent == parent, candidate.tokens == tokens.rawValue { return node }
            slot = slot + 1 == slots ? 0 : slot + 1
        }
    }

    /// Adds a child that is not there yet; it lives as long as it is retained.
    mutating func insert(under parent: UInt32, _ tokens: TokensHash) -> UInt32 {
        let node = Node(
            tokensLow: UInt32(truncatingIfNeeded: tokens.rawValue),
            tokensHigh: UInt32(truncatingIfNeeded: tokens.rawValue >> 32),
            parent: parent,
            references: 0,
            holders: .none
        )
        let index: UInt32
        if self.free == Self.root {
            index = self.append(node)
        } else {
            index = self.free
            self.free = self[index].parent
            self[index] = node
        }
        if parent != Self.root { self[parent].references += 1 }
        self.count += 1
        self.link(index)
        return index
    }

    mutating func retain(_ node: UInt32) { self[node].references += 1 }

    /// Gives up one reference; a node without any goes, and its parents that were kept for it.
    mutating func release(_ node: UInt32) {
        var node = node
        while node != Self.root {
            self[node].references -= 1
            guard self[node].references == 0 else { return }
            let parent = self[node].parent
            self.unlink(node)
            self[node].parent = self.free
            self.free = node
            self.count -= 1
            node = parent
        }
    }

    // MARK: Pages

    private subscript(node: UInt32) -> Node {
        get { self.pages[Int(node >> Self.pageBits)][Int(node & (1 << Self.pageBits - 1))] }
        _modify { yield &self.pages[Int(node >> Self.pageBits)][Int(node & (1 << Self.pageBits - 1))] }
    }

    private mutating func append(_ node: Node) -> UInt32 {
        if self.end & (1 << Self.pageBits - 1) == 0 {
            var page: [Node] = []
            page.reserveCapacity(1 << Self.pageBits)
            self.pages.append(page)
        }
        self.pages[self.pages.count - 1].append(node)
        defer { self.end += 1 }
        return self.end
    }

    // MARK: Edges

    /// How far from its home the edge lies that is the farthest away: a lookup looks at so many others first.
    var farthestEdge: Int {
        var farthest = 0
        for segment in self.segments {
            for (slot, node) in segment.enumerated() where node != Self.root {
                let home = Self.home(Self.hash(self[node].parent, self[node].tokens), segment.count)
                farthest = max(farthest, slot >= home ? slot - home : slot + segment.count - home)
            }
        }
        return farthest
    }

    private mutating func link(_ node: UInt32) {
        let hash = Self.hash(self[node].parent, self[node].tokens)
        let segment = Self.segment(hash)
        if (self.used[segment] + 1) * 5 > self.segments[segment].count * 4 { self.grow(segment) }
        self.place(node, hash, segment)
        self.used[segment] += 1
    }

    private mutating func place(_ node: UInt32, _ hash: UInt64, _ segment: Int) {
        let slots = self.segments[segment].count
        var slot = Self.home(hash, slots)
        while self.segments[segment][slot] != Self.root { slot = slot + 1 == slots ? 0 : slot + 1 }
        self.segments[segment][slot] = node
    }

    private mutating func grow(_ segment: Int) {
        let old = self.segments[segment]
        self.segments[segment] = Array(repeating: Self.root, count: max(5, old.count + old.count / 2))
        for node in old where node != Self.root {
            self.place(node, Self.hash(self[node].parent, self[node].tokens), segment)
        }
    }

    private mutating func unlink(_ node: UInt32) {
        let hash = Self.hash(self[node].parent, self[node].tokens)
        let segment = Self.segment(hash)
        let slots = self.segments[segment].count
        var hole = Self.home(hash, slots)
        while self.segments[segment][hole] != node { hole = hole + 1 == slots ? 0 : hole + 1 }
        var slot = hole
        while true {
            slot = slot + 1 == slots ? 0 : slot + 1
            let other = self.segments[segment][slot]
            if other == Self.root { break }
            let home = Self.home(Self.hash(self[other].parent, self[other].tokens), slots)
            // An entry stays where its home lies between the hole and itself, around the end of the segment.
            if hole <= slot ? (hole < home && home <= slot) : (hole < home || home <= slot) { continue }
            self.segments[segment][hole] = other
            hole = slot
        }
        self.segments[segment][hole] = Self.root
        self.used[segment] -= 1
    }

    private static func hash(_ parent: UInt32, _ tokens: UInt64) -> UInt64 {
        var hash = (tokens ^ (UInt64(parent) &* 0xD6E8_FEB8_6659_FD93)) &* 0x9E37_79B9_7F4A_7C15
        hash ^= hash >> 32
        return hash &* 0xD6E8_FEB8_6659_FD93
    }

    /// The upper bits choose the segment, the lower half the slot in it.
    private static func segment(_ hash: UInt64) -> Int { Int(hash >> (64 - UInt64(self.segmentBits))) }
    private static func home(_ hash: UInt64, _ slots: Int) -> Int { Int(((hash & 0xFFFF_FFFF) * UInt64(slots)) >> 32) }
}
