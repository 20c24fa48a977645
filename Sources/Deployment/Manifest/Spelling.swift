/// Help with names that are nearly right.
package enum Spelling {
    /// The candidate that is most probably meant, if any is near enough.
    package static func nearest(to word: String, among candidates: some Sequence<String>) -> String? {
        let wanted = self.folded(word)
        guard !wanted.isEmpty, wanted.count <= 64 else { return nil }
        var best: (candidate: String, distance: Int)?
        for candidate in candidates {
            guard candidate.utf8.count <= 256 else { continue }
            let folded = self.folded(candidate)
            var distance = self.distance(wanted, folded)
            if distance > 1, wanted.count >= 3, folded.starts(with: wanted) || wanted.starts(with: folded) {
                distance = 2
            }
            if distance < best?.distance ?? Int.max {
                best = (candidate, distance)
            }
        }
        guard let best, best.distance <= max(1, (wanted.count + 1) / 3) else { return nil }
        return best.candidate
    }

    /// `'a', 'b' or 'c'`.
    static func alternatives(_ words: some Collection<String>) -> String {
        let quoted = words.map { "'\($0)'" }
        guard let last = quoted.last, quoted.count > 1 else { return quoted.first ?? "" }
        return quoted.dropLast().joined(separator: ", ") + " or " + last
    }

    /// A text in one short line.
    static func excerpt(_ text: String, limit: Int = 60) -> String {
        var result = ""
        var count = 0
        for scalar in text.unicodeScalars {
            if count == limit { return result + "..." }
            switch scalar {
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\r": result += "\\r"
            case _ where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value):
                result += "\\u{\(String(scalar.value, radix: 16))}"
            default: result.unicodeScalars.append(scalar)
            }
            count += 1
        }
        return result
    }

    /// Without case and separators, so that `depends_on` is `dependsOn`.
    private static func folded(_ word: String) -> [Character] {
        word.lowercased().filter { $0 != "-" && $0 != "_" && $0 != " " }
    }

    /// Damerau-Levenshtein with adjacent transpositions.
    private static func distance(_ lhs: [Character], _ rhs: [Character]) -> Int {
        guard !lhs.isEmpty, !rhs.isEmpty else { return max(lhs.count, rhs.count) }
        var beforeLast: [Int] = []
        var last = Array(0...rhs.count)
        for (row, left) in lhs.enumerated() {
            var current = [row + 1]
            for (column, right) in rhs.enumerated() {
                let cost = left == right ? 0 : 1
                var value = min(last[column + 1] + 1, current[column] + 1, last[column] + cost)
                if row > 0, column > 0, left == rhs[column - 1], lhs[row - 1] == right {
                    value = min(value, beforeLast[column - 1] + 1)
                }
                current.append(value)
            }
            beforeLast = last
            last = current
        }
        return last[rhs.count]
    }
}
