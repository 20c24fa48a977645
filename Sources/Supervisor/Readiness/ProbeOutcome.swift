/// The answer of a probe.
package enum ProbeOutcome: Sendable, Hashable {
    case success
    /// Not yet, or not any more, with the reason for people: `connection refused`, `model list is empty`.
    case failure(String)
}
