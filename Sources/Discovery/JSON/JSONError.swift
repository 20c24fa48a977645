/// Why bytes are not JSON, and where.
package struct JSONError: Error, Sendable, Hashable, CustomStringConvertible {
    package var message: String
    /// The first line is 1.
    package var line: Int
    /// In bytes; the first column is 1.
    package var column: Int

    package var description: String { "\(self.message) at line \(self.line) column \(self.column)" }
}
