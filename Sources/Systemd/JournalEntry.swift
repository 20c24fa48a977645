/// One entry of the journal: named fields (`systemd.journal-fields(7)`).
package struct JournalEntry: Sendable, Hashable {
    /// As in syslog; lower is worse.
    package enum Priority: Int, Sendable, Hashable, CaseIterable {
        case emergency = 0
        case alert, critical, error, warning, notice, info, debug
    }

    package var message: String
    package var priority: Priority
    /// What `journalctl` shows in front of the message.
    package var identifier: String
    /// Names are of `A` to `Z`, digits and `_`, and begin with a letter: the journal drops others.
    package var fields: [Field]

    package struct Field: Sendable, Hashable {
        package var name: String
        package var value: String

        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    package init(_ message: String, priority: Priority, identifier: String, fields: [Field] = []) {
        self.message = message
        self.priority = priority
        self.identifier = identifier
        self.fields = fields
    }

    /// `NAME=value` of every field, one behind the other, and where each ends.
    var encoded: (bytes: [UInt8], ends: [Int]) {
        var bytes: [UInt8] = []
        var ends: [Int] = []
        let all =
            [
                Field("MESSAGE", self.message), Field("PRIORITY", "\(self.priority.rawValue)"),
                Field("SYSLOG_IDENTIFIER", self.identifier),
            ] + self.fields
        for field in all {
            bytes.append(contentsOf: field.name.utf8)
            bytes.append(UInt8(ascii: "="))
            bytes.append(contentsOf: field.value.utf8)
            ends.append(bytes.count)
        }
        return (bytes, ends)
    }

    /// What it takes to keep, about.
    var size: Int {
        self.fields.reduce(self.message.utf8.count + self.identifier.utf8.count + 128) {
            $0 + $1.name.utf8.count + $1.value.utf8.count + 32
        }
    }
}
