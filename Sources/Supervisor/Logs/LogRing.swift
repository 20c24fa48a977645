/// The last lines of a replica, for messages.
struct LogRing: Sendable {
    static let capacity = 50
    static let longestLine = 1024

    private var lines: [String] = []
    private var next = 0
    /// How many there were.
    private(set) var total = 0

    mutating func append(_ line: String) {
        let line = line.utf8.count > Self.longestLine ? String(line.prefix(Self.longestLine - 3)) + "..." : line
        if self.lines.count < Self.capacity {
            self.lines.append(line)
        } else {
            self.lines[self.next] = line
        }
        self.next = (self.next + 1) % Self.capacity
        self.total += 1
    }

    /// Oldest first.
    func last(_ count: Int) -> [String] {
        let ordered =
            self.lines.count < Self.capacity ? self.lines : Array(self.lines[self.next...] + self.lines[..<self.next])
        return Array(ordered.suffix(count))
    }
}
