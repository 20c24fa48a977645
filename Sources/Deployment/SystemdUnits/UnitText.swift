/// Words of a unit file, written so that systemd reads back what was meant (`systemd.syntax(7)`, `systemd.service(5)`).
enum UnitText {
    /// A word of a command line: quoted where it must be, without specifiers and variables.
    static func argument(_ word: String) -> String {
        self.quoted(word.replacing("%", with: "%%").replacing("$", with: "$$"))
    }

    /// An assignment of `Environment=`.
    static func assignment(_ name: String, _ value: String) -> String {
        self.quoted("\(name)=\(value)".replacing("%", with: "%%"))
    }

    /// A path that is a value by itself: systemd takes the rest of the line, and reads specifiers only.
    static func path(_ path: String) -> String { path.replacing("%", with: "%%") }

    /// A text for people.
    static func plain(_ text: String) -> String {
        String(text.map { $0.isNewline ? " " : $0 }).replacing("%", with: "%%")
    }

    /// Seconds, rounded up.
    static func seconds(_ seconds: Double) -> String { "\(Int(seconds.rounded(.up)))s" }

    private static let bare = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@+%$")

    private static func quoted(_ word: String) -> String {
        if !word.isEmpty, word.allSatisfy({ self.bare.contains($0) }) { return word }
        var result = "\""
        for scalar in word.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\r": result += "\\r"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7F {
                    let digits = String(scalar.value, radix: 16)
                    result += "\\x" + String(repeating: "0", count: 2 - digits.count) + digits
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }
}
