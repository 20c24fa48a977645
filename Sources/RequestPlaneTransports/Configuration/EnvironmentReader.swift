import Logging

/// Reads variables of the environment; a value that cannot be used is reported and replaced by the default.
struct EnvironmentReader {
    let environment: [String: String]
    let logger: Logger

    /// The value, unless it is unset or empty.
    func text(_ name: String) -> String? {
        guard let value = self.environment[name], !value.isEmpty else { return nil }
        return value
    }

    /// A whole number in a range.
    func integer(_ name: String, in range: ClosedRange<Int>, default defaultValue: Int) -> Int {
        guard let text = self.text(name) else { return defaultValue }
        if let value = Int(text), range.contains(value) { return value }
        self.logger.warning(
            "\(name)='\(text)' is not a whole number from \(range.lowerBound) to \(range.upperBound); using \(defaultValue)"
        )
        return defaultValue
    }

    /// Yes or no: `true`, `false`, `1` or `0`, in any case.
    func boolean(_ name: String, default defaultValue: Bool) -> Bool {
        guard let text = self.text(name) else { return defaultValue }
        switch text.lowercased() {
        case "true", "1": return true
        case "false", "0": return false
        default:
            self.logger.warning("\(name)='\(text)' is neither true nor false; using \(defaultValue)")
            return defaultValue
        }
    }

    /// Whole seconds.
    func seconds(_ name: String, default defaultValue: Int) -> Duration {
        .seconds(self.integer(name, in: 1...86_400, default: defaultValue))
    }
}
