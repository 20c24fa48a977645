import ArgumentParser

/// What answers requests.
enum EngineName: String, CaseIterable, Sendable {
    /// Sends the last user message back.
    case echo
    /// Simulates an engine with a KV cache.
    case mock

    /// Reads the name as it stands on the command line.
    ///
    /// - Throws: `ValidationError` that names the engine which was probably meant.
    static func parse(_ text: String) throws -> EngineName {
        if let name = EngineName(rawValue: text) { return name }
        let wanted = Array(text.lowercased().utf8)
        let nearest = Self.allCases
            .map { (name: $0, distance: Self.distance(wanted, Array($0.rawValue.utf8))) }
            .min { $0.distance < $1.distance }
        if let nearest, nearest.distance <= 2 { throw ValidationError("did you mean '\(nearest.name.rawValue)'?") }
        throw ValidationError("the engines are \(Self.allCases.map(\.rawValue).joined(separator: ", "))")
    }

    /// How many letters must be changed, added or left out.
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        // Nobody means one of the engines by something much longer.
        guard left.count <= 16 else { return left.count }
        var row = Array(0...right.count)
        for (index, letter) in left.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for (column, other) in right.enumerated() {
                let changed = diagonal + (letter == other ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(changed, diagonal + 1, row[column] + 1)
            }
        }
        return row[right.count]
    }
}
