/// Everything that is wrong with the environment or the arguments of a process, at once.
package struct ConfigurationError: Error, Sendable, Hashable, CustomStringConvertible {
    /// One sentence each: what is wrong, and what is allowed.
    package var problems: [String]

    package init(_ problems: [String]) { self.problems = problems }

    package var description: String { self.problems.joined(separator: "\n") }
}
