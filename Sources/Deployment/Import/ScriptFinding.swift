/// What a manifest that is made from a script has otherwise than the script.
package struct ScriptFinding: Sendable, Hashable, Codable {
    package enum Kind: String, Sendable, Hashable, Codable {
        /// The launcher does it in its own way.
        case note
        /// The manifest does not have it.
        case lost
    }

    package var kind: Kind
    /// Of the script, from 1.
    package var line: Int
    package var message: String

    package init(_ kind: Kind, line: Int, _ message: String) {
        self.kind = kind
        self.line = line
        self.message = message
    }
}

/// A program of Dynamo's or of ours that a script starts.
struct ScriptedProcess: Sendable, Hashable {
    var line: Int
    var words: [ScriptText]
    /// What the script exports, and what stands before the command.
    var environment: [String: ScriptText]
    var unset: [String]
    var workingDirectory: String?
    /// Whether the arguments of the script's caller go to it.
    var takesArguments: Bool
    /// The process that the script has waited for, by its place.
    var waitsFor: Int?
}
