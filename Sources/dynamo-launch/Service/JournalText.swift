import Systemd

/// What the text of a line means for the journal.
enum JournalText {
    /// Without colours and other control characters: `journalctl` shows a message that has any as `[blob data]`.
    static func printable(_ text: String) -> String {
        guard text.utf8.contains(where: { Self.isControl($0) }) else { return text }
        var result = ""
        var rest = text.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            if scalar == "\u{1b}" {
                // ECMA-48: a control sequence is ESC [, parameters, and a final byte from @ to ~.
                guard rest.first == "[" else { continue }
                rest.removeFirst()
                while let next = rest.popFirst(), !("@"..."~").contains(next) {}
            } else if scalar.value > 0x7F || !Self.isControl(UInt8(scalar.value)) {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func isControl(_ byte: UInt8) -> Bool {
        byte < 0x20 && byte != UInt8(ascii: "\t") || byte == 0x7F
    }

    /// How bad a line is, by its own words, and the line without the mark that says so.
    ///
    /// Understood are `<3>` in front (`sd-daemon(3)`), a level in capitals among the first words, as Dynamo, the engines and
    /// Python write it, and the `level` of a line that is JSON. Any other line is `info`, as it is for the journal itself.
    static func priority(of text: String) -> (JournalEntry.Priority, String) {
        let bytes = text.utf8.prefix(3)
        if bytes.count == 3, bytes.first == UInt8(ascii: "<"), bytes.last == UInt8(ascii: ">"),
            let digit = text.dropFirst().first?.wholeNumberValue, let priority = JournalEntry.Priority(rawValue: digit)
        {
            return (priority, String(text.dropFirst(3)))
        }
        if bytes.first == UInt8(ascii: "{") {
            let level = text.prefix(400).firstMatch(of: /"level"\s*:\s*"([A-Za-z]+)"/)?.1
            return (level.flatMap { Self.level($0.uppercased()) } ?? .info, text)
        }
        for word in text.utf8.prefix(160).split(separator: UInt8(ascii: " ")).prefix(6) {
            let name = word.drop { !Self.isWordCharacter($0) }.prefix(while: Self.isWordCharacter)
            if let level = Self.level(String(decoding: name, as: UTF8.self)) { return (level, text) }
        }
        return (.info, text)
    }

    private static func isWordCharacter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "_")
    }

    private static func level(_ word: String) -> JournalEntry.Priority? {
        switch word {
        case "CRITICAL", "FATAL": .critical
        case "ERROR": .error
        case "WARN", "WARNING": .warning
        case "INFO": .info
        case "DEBUG", "TRACE": .debug
        default: nil
        }
    }
}
