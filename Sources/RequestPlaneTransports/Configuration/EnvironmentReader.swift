import Logging
import Synchronization

/// Reads variables of the environment; a value that cannot be used is reported and replaced by the default.
struct EnvironmentReader {
    let environment: [String: String]
    let logger: Logger
    private let catalogue = Catalogue()

    init(environment: [String: String], logger: Logger) {
        self.environment = environment
        self.logger = logger
    }

    /// Every variable that was asked for, with its default as a text.
    ///
    /// The documented table is compared with this, so that it can name neither too much nor too little.
    var asked: [String: String] { self.catalogue.defaults.withLock { $0 } }

    /// The value, unless it is unset or empty.
    ///
    /// - Parameters:
    ///   - name: the variable.
    ///   - defaultText: what happens without it, for the documentation.
    /// - Returns: the value, or nil.
    func text(_ name: String, default defaultText: String = "unset") -> String? {
        self.catalogue.defaults.withLock { $0[name] = defaultText }
        guard let value = self.environment[name], !value.isEmpty else { return nil }
        return value
    }

    /// A whole number in a range.
    func integer(_ name: String, in range: ClosedRange<Int>, default defaultValue: Int) -> Int {
        guard let text = self.text(name, default: String(defaultValue)) else { return defaultValue }
        if let value = Int(text), range.contains(value) { return value }
        self.logger.warning(
            "\(name)='\(text)' is not a whole number from \(range.lowerBound) to \(range.upperBound); using \(defaultValue)"
        )
        return defaultValue
    }

    /// Whole seconds.
    func seconds(_ name: String, default defaultValue: Int) -> Duration {
        .seconds(self.integer(name, in: 1...86_400, default: defaultValue))
    }

    /// Whole seconds.
    func seconds(_ name: String, default defaultValue: Duration) -> Duration {
        self.seconds(name, default: Int(defaultValue.components.seconds))
    }

    /// A switch: 1, true, yes or on; 0, false, no or off.
    func flag(_ name: String, default defaultValue: Bool) -> Bool {
        guard let text = self.text(name, default: String(defaultValue)) else { return defaultValue }
        switch text.lowercased() {
        case "1", "true", "yes", "on": return true
        case "0", "false", "no", "off": return false
        default:
            self.logger.warning("\(name)='\(text)' is neither true nor false; using \(defaultValue)")
            return defaultValue
        }
    }

    private final class Catalogue: Sendable {
        let defaults = Mutex<[String: String]>([:])
    }
}
