import NIOCore

/// What waits to be handed to libnats, in order and bounded.
struct OutboundQueue<Item> {
    private var items = CircularBuffer<(item: Item, size: Int)>()
    private let maximumBytes: Int
    private(set) var bytes = 0

    init(maximumBytes: Int) { self.maximumBytes = maximumBytes }

    var isEmpty: Bool { self.items.isEmpty }

    /// Puts an item at the end.
    ///
    /// One item always fits into an empty queue, however large it is.
    ///
    /// - Returns: whether there was room.
    mutating func append(_ item: Item, size: Int) -> Bool {
        guard size == 0 || self.bytes == 0 || self.bytes + size <= self.maximumBytes else { return false }
        self.items.append((item, size))
        self.bytes += size
        return true
    }

    /// Takes items from the front until they reach a size.
    mutating func take(upTo size: Int) -> [(item: Item, size: Int)] {
        var batch: [(item: Item, size: Int)] = []
        var taken = 0
        while taken < size, let next = self.items.popFirst() {
            taken += next.size
            batch.append(next)
        }
        self.bytes -= taken
        return batch
    }

    /// Puts back what was taken and could not be sent.
    mutating func putBack(_ batch: some BidirectionalCollection<(item: Item, size: Int)>) {
        for entry in batch.reversed() {
            self.items.prepend(entry)
            self.bytes += entry.size
        }
    }
}
