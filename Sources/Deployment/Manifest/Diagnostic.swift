/// Where something was written.
package struct Location: Sendable, Hashable, Codable {
    /// The file as it is shown, or what else gave the text, such as `--set planes.request=tcp`.
    package var file: String
    /// From 1; 0 when there are no lines, as on the command line.
    package var line: Int
    /// From 1, in Unicode scalars; 0 when there are no lines.
    package var column: Int

    package init(file: String, line: Int = 0, column: Int = 0) {
        self.file = file
        self.line = line
        self.column = column
    }
}

extension Location: CustomStringConvertible {
    package var description: String {
        self.line == 0 ? self.file : "\(self.file):\(self.line):\(self.column)"
    }
}

/// A value and the place that it was written at.
package struct Located<Value> {
    package var value: Value
    package var location: Location

    package init(_ value: Value, _ location: Location) {
        self.value = value
        self.location = location
    }
}

extension Located: Sendable where Value: Sendable {}
extension Located: Equatable where Value: Equatable {}
extension Located: Hashable where Value: Hashable {}

/// One thing to say about a manifest: where, what and why, and what to write instead.
package struct Diagnostic: Sendable, Hashable, Codable {
    /// How bad it is.
    package enum Severity: String, Sendable, Hashable, Codable {
        /// Nothing is started.
        case error
        case warning
        case note
    }

    package var severity: Severity
    package var location: Location
    /// What is wrong and why.
    package var message: String
    /// What to write or do instead.
    package var remedy: String?

    package init(severity: Severity = .error, at location: Location, _ message: String, remedy: String? = nil) {
        self.severity = severity
        self.location = location
        self.message = message
        self.remedy = remedy
    }

    package var file: String { self.location.file }
    package var line: Int { self.location.line }
    package var column: Int { self.location.column }
}

extension Diagnostic: CustomStringConvertible {
    package var description: String {
        let head = "\(self.location): \(self.severity.rawValue): \(self.message)"
        guard let remedy = self.remedy else { return head }
        return "\(head)\n  remedy: \(remedy)"
    }
}

/// Everything that is wrong with a manifest, in the order of the file.
package struct ManifestErrors: Error, Sendable, Hashable {
    /// At least one.
    package var diagnostics: [Diagnostic]

    package init(_ diagnostics: [Diagnostic]) {
        self.diagnostics = Self.sorted(diagnostics)
    }

    /// Without the values of variables that sound like secrets.
    ///
    /// - Parameter environment: Where the values came from.
    /// - Returns: The same errors, masked.
    func masking(_ environment: [String: String]) -> Self {
        let secrets = Secrets.values(in: environment)
        var masked = self
        masked.diagnostics = self.diagnostics.map { diagnostic in
            var diagnostic = diagnostic
            diagnostic.message = Secrets.masking(diagnostic.message, values: secrets)
            diagnostic.remedy = diagnostic.remedy.map { Secrets.masking($0, values: secrets) }
            return diagnostic
        }
        return masked
    }

    /// File order; what has no line comes last.
    static func sorted(_ diagnostics: [Diagnostic]) -> [Diagnostic] {
        var seen: Set<Diagnostic> = []
        let unique = diagnostics.filter { seen.insert($0).inserted }
        return unique.enumerated().sorted { lhs, rhs in
            let left = (lhs.element.line == 0 ? 1 : 0, lhs.element.line, lhs.element.column, lhs.offset)
            let right = (rhs.element.line == 0 ? 1 : 0, rhs.element.line, rhs.element.column, rhs.offset)
            return left < right
        }.map(\.element)
    }
}

extension ManifestErrors: CustomStringConvertible {
    package var description: String {
        self.diagnostics.map(\.description).joined(separator: "\n")
    }
}
