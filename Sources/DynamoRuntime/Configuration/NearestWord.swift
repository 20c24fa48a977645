/// Help with words that are nearly right.
package enum NearestWord {
    /// The candidate that is most probably meant, if any is near enough.
    package static func to(_ word: String, among candidates: [String]) -> String? {
        let wanted = Array(word.lowercased().utf8.prefix(64))
        let ranked = candidates.map { ($0, self.distance(wanted, Array($0.lowercased().utf8))) }
        guard let best = ranked.min(by: { $0.1 < $1.1 }), best.1 <= max(1, (wanted.count + 1) / 3)
        else { return nil }
        return best.0
    }

    /// How many letters must be changed, left out or added.
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var last = Array(0...right.count)
        for (row, letter) in left.enumerated() {
            var current = [row + 1]
            for (column, other) in right.enumerated() {
                current.append(
                    min(last[column + 1] + 1, current[column] + 1, last[column] + (letter == other ? 0 : 1))
                )
            }
            last = current
        }
        return last[right.count]
    }
}
