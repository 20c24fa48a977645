package import Logging

/// Which log lines are written: a level for all, and levels for targets whose names begin alike.
///
/// Understands what Dynamo's `DYN_LOG` mostly holds: `debug`, or `info,RequestPlane=debug`.
package struct LogFilter: Sendable, Hashable {
    package static let levels = "off, error, warn, info, debug, trace"

    /// nil means off.
    package var level: Logger.Level?
    package var targets: [String: Logger.Level?]

    package init(level: Logger.Level? = .info, targets: [String: Logger.Level?] = [:]) {
        self.level = level
        self.targets = targets
    }

    /// Reads a list of levels.
    ///
    /// - Returns: nil when a level is not known.
    package init?(_ text: String) {
        self.init()
        for directive in text.split(separator: ",") {
            let parts = directive.split(separator: "=", omittingEmptySubsequences: false)
            guard let word = parts.last, parts.count <= 2, let level = Self.level(word.lowercased()) else { return nil }
            if parts.count == 1 { self.level = level } else { self.targets[String(parts[0])] = level }
        }
    }

    /// The level for a target; nil means off.
    ///
    /// The longest name that fits counts.
    package func level(of target: String) -> Logger.Level? {
        let names = self.targets.keys.filter { target.hasPrefix($0) }
        guard let name = names.max(by: { $0.utf8.count < $1.utf8.count }) else { return self.level }
        return self.targets[name] ?? self.level
    }

    private static func level(_ word: String) -> Logger.Level?? {
        switch word {
        case "off": .some(nil)
        case "error": .error
        case "warn", "warning": .warning
        case "info": .info
        case "debug": .debug
        case "trace": .trace
        default: nil
        }
    }
}
