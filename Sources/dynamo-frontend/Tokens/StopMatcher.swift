/// Finds stop sequences in a text that comes in pieces; a piece that may be the beginning of one is kept back.
struct StopMatcher: Sendable {
    private let stops: [[UInt8]]
    private let includesStop: Bool
    private var kept: [UInt8] = []

    init(_ stops: [String], includesStop: Bool) {
        self.stops = stops.map { Array($0.utf8) }
        self.includesStop = includesStop
    }

    /// Takes more text.
    ///
    /// - Parameters:
    ///   - text: whole characters.
    ///   - mayStop: whether a sequence counts already.
    ///   - isLast: whether nothing more comes, so that nothing is kept back.
    /// - Returns: what can be given out, and whether a sequence has come, behind which nothing counts.
    mutating func append(_ text: String, mayStop: Bool = true, isLast: Bool = false) -> (text: String, isStopped: Bool)
    {
        guard !self.stops.isEmpty else { return (text, false) }
        self.kept += text.utf8
        guard mayStop else { return (self.take(self.kept.count), false) }
        for place in self.kept.indices {
            for stop in self.stops where self.kept[place...].starts(with: stop) {
                defer { self.kept = [] }
                return (self.take(self.includesStop ? place + stop.count : place), true)
            }
            let rest = self.kept[place...]
            if !isLast, self.stops.contains(where: { $0.starts(with: rest) }) { return (self.take(place), false) }
        }
        return (self.take(self.kept.count), false)
    }

    private mutating func take(_ count: Int) -> String {
        defer { self.kept.removeFirst(count) }
        return String(decoding: self.kept[..<count], as: UTF8.self)
    }
}
