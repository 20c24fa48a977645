internal import FoundationEssentials

/// A moment of the wall clock, written as in `2026-01-31T12:00:00.123Z`.
package struct LogTime: Sendable, Hashable, CustomStringConvertible {
    /// Since 1970-01-01T00:00:00Z.
    package var milliseconds: Int64

    package init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    /// Reads the form of `description`, and no other.
    package init?(_ text: String) { self.init(ascii: Array(text.utf8)[...]) }

    package static var now: LogTime {
        LogTime(milliseconds: Int64(Date.now.timeIntervalSince1970 * 1000))
    }

    package var description: String {
        String(decoding: self.ascii, as: UTF8.self)
    }

    /// The 24 characters as bytes.
    var ascii: [UInt8] {
        let milliseconds = self.milliseconds.quotientAndRemainder(dividingBy: 86_400_000)
        let (year, month, day) = Self.civil(fromDays: milliseconds.quotient)
        let rest = Int(milliseconds.remainder)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(24)
        func append(_ value: Int, _ digits: Int, _ separator: Character?) {
            var divisor = 1
            for _ in 1..<digits { divisor *= 10 }
            while divisor > 0 {
                bytes.append(UInt8(ascii: "0") + UInt8((value / divisor) % 10))
                divisor /= 10
            }
            if let separator, let ascii = separator.asciiValue { bytes.append(ascii) }
        }
        append(year, 4, "-")
        append(month, 2, "-")
        append(day, 2, "T")
        append(rest / 3_600_000, 2, ":")
        append(rest / 60_000 % 60, 2, ":")
        append(rest / 1000 % 60, 2, ".")
        append(rest % 1000, 3, "Z")
        return bytes
    }

    /// The proleptic Gregorian date of a day number (days since 1970-01-01, not before it).
    private static func civil(fromDays days: Int64) -> (Int, Int, Int) {
        let shifted = Int(days) + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthIndex + 2) / 5 + 1
        let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }
}
