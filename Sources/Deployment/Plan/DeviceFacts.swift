/// Whether other deployments of the machine may have the devices of this one too.
package enum GPUSharing: String, Sendable, Hashable, Codable, CaseIterable {
    /// No other deployment gets them while this one runs.
    case exclusive
    /// Other deployments that share may have them too.
    case shared
}

/// What is known of the accelerators of the machine.
package struct DeviceFacts: Sendable, Hashable {
    /// Their indexes, whatever the caller may see of them; nil: not known.
    package var known: [String]?
    /// Devices that this deployment may not have, each with who holds it, in words.
    package var taken: [String: String]
    /// What replicas were given before, by `process-index`: they keep it.
    package var given: [String: [String]]
    /// Whether something is started: what the machine does not have is then an error, and a note where a plan is only shown.
    package var isBinding: Bool

    package init(
        known: [String]? = nil,
        taken: [String: String] = [:],
        given: [String: [String]] = [:],
        isBinding: Bool = false
    ) {
        self.known = known
        self.taken = taken
        self.given = given
        self.isBinding = isBinding
    }
}
