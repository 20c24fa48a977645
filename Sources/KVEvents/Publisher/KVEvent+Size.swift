import KVRouter

extension KVEvent.Change {
    /// Blocks that are named.
    var blockCount: Int {
        switch self {
        case .stored(_, let blocks): blocks.count
        case .removed(let blocks): blocks.count
        case .cleared: 0
        }
    }

    /// The same in pieces with fewer blocks.
    func parts(of limit: Int) -> [KVEvent.Change] {
        var parts: [KVEvent.Change] = []
        switch self {
        case .stored(let parent, let blocks):
            var parent = parent
            for start in stride(from: 0, to: blocks.count, by: limit) {
                let part = blocks[start..<min(start + limit, blocks.count)]
                parts.append(.stored(parent: parent, blocks: Array(part)))
                parent = part.last?.block
            }
        case .removed(let blocks):
            for start in stride(from: 0, to: blocks.count, by: limit) {
                parts.append(.removed(Array(blocks[start..<min(start + limit, blocks.count)])))
            }
        case .cleared: parts.append(self)
        }
        return parts
    }
}

extension RouterEvent {
    /// Bytes in a message, at most: a stored block takes 57 of them, a removed one 9, what is around them 192.
    var estimatedSize: Int {
        switch self.event.change {
        case .stored(_, let blocks): 192 + 57 * blocks.count
        case .removed(let blocks): 192 + 9 * blocks.count
        case .cleared: 192
        }
    }
}
