/// Everything that is wrong with the environment or the arguments of a process, at once.
public struct ConfigurationError: Error, Sendable, Hashable, CustomStringConvertible {
    /// One sentence each: what is wrong, and what is allowed.
    public var problems: [String]

    /// Creates an error.
    public init(_ problems: [String]) { self.problems = problems }

    /// The problems, one a line.
    public var description: String { self.problems.joined(separator: "\n") }
}
