/// A key that a person has pressed.
enum TopKey: Sendable, Hashable {
    case character(Character)
    case up, down, pageUp, pageDown, home, end, escape, enter
    /// Ctrl-C.
    case interrupt
    /// Ctrl-Z.
    case suspend
    /// Ctrl-L.
    case redraw
}

/// Makes keys of what a terminal sends.
struct TopKeys: Sendable {
    /// A sequence whose end has not come yet.
    private var pending: [UInt8] = []

    /// Longer ones are none of ours.
    private static let limit = 16

    /// What was pressed.
    mutating func decode(_ bytes: some Collection<UInt8>) -> [TopKey] {
        self.pending += bytes
        var keys: [TopKey] = []
        var rest = self.pending[...]
        while let first = rest.first {
            guard first == 0x1B else {
                let length = Self.length(first)
                guard rest.count >= length else { break }
                if let key = Self.key(rest.prefix(length)) { keys.append(key) }
                rest = rest.dropFirst(length)
                continue
            }
            let next = rest.dropFirst().first
            // A terminal sends the whole of a sequence at once: one that is alone was pressed.
            guard let next, next == UInt8(ascii: "[") || next == UInt8(ascii: "O") else {
                keys.append(.escape)
                rest = rest.dropFirst()
                continue
            }
            let parameters = rest.dropFirst(2).prefix { (0x20...0x3F).contains($0) }
            guard let final = rest.dropFirst(2 + parameters.count).first else {
                if rest.count > Self.limit { rest = [] }
                break
            }
            if let key = Self.sequence(String(decoding: parameters, as: UTF8.self), final) { keys.append(key) }
            rest = rest.dropFirst(3 + parameters.count)
        }
        self.pending = Array(rest)
        return keys
    }

    /// Bytes of a character, by its first one.
    private static func length(_ first: UInt8) -> Int {
        switch first {
        case 0xC2...0xDF: 2
        case 0xE0...0xEF: 3
        case 0xF0...0xF4: 4
        default: 1
        }
    }

    private static func key(_ bytes: ArraySlice<UInt8>) -> TopKey? {
        switch bytes.first ?? 0 {
        case 0x03: .interrupt
        case 0x0C: .redraw
        case 0x1A: .suspend
        case 0x0A, 0x0D: .enter
        case 0x00..<0x20, 0x7F: nil
        default: String(decoding: bytes, as: UTF8.self).first.map { .character($0) }
        }
    }

    private static func sequence(_ parameters: String, _ final: UInt8) -> TopKey? {
        switch (parameters, Character(UnicodeScalar(final))) {
        case (_, "A"): .up
        case (_, "B"): .down
        case (_, "H"), ("1", "~"), ("7", "~"): .home
        case (_, "F"), ("4", "~"), ("8", "~"): .end
        case ("5", "~"): .pageUp
        case ("6", "~"): .pageDown
        default: nil
        }
    }
}
