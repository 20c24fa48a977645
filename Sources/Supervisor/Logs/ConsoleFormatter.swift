/// Writes log lines for people or for programs.
///
/// Pure.
package struct ConsoleFormatter: Sendable {
    package enum Format: String, Sendable, Hashable, CaseIterable {
        case text, json
    }

    package let format: Format
    package let colour: Bool
    /// The longest name, so that all lines begin in the same column.
    package let width: Int
    private let palette: [String: Int]

    /// Colours go round in the order of the names, so a process keeps its colour from one start to the next.
    private static let colours = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94]

    package init(format: Format, colour: Bool, processes: [String], replicas: [String]) {
        self.format = format
        self.colour = colour
        self.width = replicas.map(\.count).max() ?? 0
        var palette: [String: Int] = [:]
        for process in processes where palette[process] == nil {
            palette[process] = Self.colours[palette.count % Self.colours.count]
        }
        self.palette = palette
    }

    /// One line, with its end.
    package func string(for line: LogLine) -> String {
        switch self.format {
        case .text:
            self.prefix(process: line.process, name: ReplicaLabel.text(line.replica, generation: line.generation))
                + Self.visible(line.text) + "\n"
        case .json: Self.json(line) + "\n"
        }
    }

    /// `name |`, padded and coloured.
    package func prefix(process: String, name: String) -> String {
        let padding = String(repeating: " ", count: max(0, self.width - name.count))
        guard self.colour, let colour = self.palette[process] else { return "\(name)\(padding) | " }
        return "\u{1b}[\(colour)m\(name)\(padding) |\u{1b}[0m "
    }

    /// What a terminal would show in the end: progress bars rewrite their line after a carriage return.
    package static func visible(_ text: String) -> String {
        guard let last = text.unicodeScalars.lastIndex(of: "\r") else { return text }
        return String(text.unicodeScalars[text.unicodeScalars.index(after: last)...])
    }

    /// The line as a JSON object.
    package static func json(_ line: LogLine) -> String {
        var object = "{\"time\":\"\(line.time)\",\"process\":\(Self.quoted(line.process))"
        object += ",\"replica\":\(Self.quoted(line.replica)),\"stream\":\"\(line.stream.rawValue)\""
        if line.generation > 1 { object += ",\"generation\":\(line.generation)" }
        object += ",\"message\":\(Self.quoted(line.text))"
        if line.isPartial { object += ",\"partial\":true" }
        return object + "}"
    }

    /// A JSON string.
    package static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
