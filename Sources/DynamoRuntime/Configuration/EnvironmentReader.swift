import Discovery

/// Reads environment variables and collects what is wrong with them.
///
/// A variable that is empty counts as not set.
package struct EnvironmentReader {
    private let environment: [String: String]
    /// One sentence for each invalid value.
    package private(set) var problems: [String] = []

    package init(_ environment: [String: String]) { self.environment = environment }

    package func string(_ name: String) -> String? {
        guard let value = self.environment[name], !value.isEmpty else { return nil }
        return value
    }

    package mutating func integer(_ name: String, in range: ClosedRange<Int>, default fallback: Int) -> Int {
        guard let text = self.string(name) else { return fallback }
        guard let value = Int(text), range.contains(value) else {
            self.reject(name, text, "a whole number from \(range.lowerBound) to \(range.upperBound)")
            return fallback
        }
        return value
    }

    /// Reads a number of seconds, fractions allowed.
    package mutating func seconds(_ name: String, default fallback: Duration) -> Duration {
        guard let text = self.string(name) else { return fallback }
        guard let value = Double(text), value >= 0, value <= 86_400 else {
            self.reject(name, text, "a number of seconds from 0 to 86400")
            return fallback
        }
        return .milliseconds(Int((value * 1000).rounded()))
    }

    /// Reads one of the raw values, in any case.
    package mutating func choice<Value: RawRepresentable & CaseIterable>(
        _ name: String,
        default fallback: Value
    ) -> Value where Value.RawValue == String {
        guard let text = self.string(name) else { return fallback }
        guard let value = Value(rawValue: text.lowercased()) else {
            self.reject(name, text, "one of " + Value.allCases.map(\.rawValue).joined(separator: ", "))
            return fallback
        }
        return value
    }

    /// Reads two variables that have a meaning only together.
    package mutating func pair(_ first: String, _ second: String) -> (String, String)? {
        switch (self.string(first), self.string(second)) {
        case (let one?, let other?): return (one, other)
        case (nil, nil): return nil
        case (.some, nil): self.problems.append("\(first) is set but \(second) is not; set both or neither")
        case (nil, .some): self.problems.append("\(second) is set but \(first) is not; set both or neither")
        }
        return nil
    }

    /// Reads a JSON list of names.
    package mutating func names(_ name: String) -> [String] {
        guard let text = self.string(name) else { return [] }
        let elements = (try? JSONValue(parsing: Array(text.utf8)))?.array
        let names = elements?.compactMap(\.string) ?? []
        if names.count != elements?.count { self.reject(name, text, #"a JSON list of names like ["generate"]"#) }
        return names
    }

    package mutating func reject(_ name: String, _ value: String, _ allowed: String) {
        self.problems.append("\(name) is '\(value)'; it must be \(allowed)")
    }
}
