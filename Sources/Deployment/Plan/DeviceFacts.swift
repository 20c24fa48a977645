/// Whether other deployments of the machine may have the devices of this one too.
package enum GPUSharing: String, Sendable, Hashable, Codable, CaseIterable {
    /// No other deployment gets them while this one runs.
    case exclusive
    /// Other deployments that share may have them too.
    case shared
}

/// The accelerators of a machine, by the names that `CUDA_VISIBLE_DEVICES` and `ZE_AFFINITY_MASK` may have for them.
package struct KnownDevices: Sendable, Hashable {
    /// nil: not known.
    package var indexes: [String]?
    /// `GPU-...` by index, as far as the machine's tool tells.
    package var identifiers: [String: String]

    package init(indexes: [String]? = nil, identifiers: [String: String] = [:]) {
        self.indexes = indexes
        self.identifiers = identifiers
    }

    /// One name for each device, however it is called: its index where that is known.
    ///
    /// As CUDA has it, an identifier may be cut short where it is clear whose it is.
    package func canonical(_ name: String) -> String {
        guard Int(name) == nil else { return name }
        let indexes = self.identifiers.filter { $0.value.hasPrefix(name) }.keys
        return indexes.count == 1 ? indexes.first ?? name : name
    }

    /// Whether the machine is known not to have it.
    package func lacks(_ name: String) -> Bool {
        if Int(name) != nil { return self.indexes.map { !$0.contains(name) } ?? false }
        // Other identifiers are of parts of devices, which the tool does not list.
        guard name.hasPrefix("GPU-"), !self.identifiers.isEmpty else { return false }
        return !self.identifiers.values.contains { $0.hasPrefix(name) }
    }
}

/// What is known of the accelerators of the machine.
package struct DeviceFacts: Sendable, Hashable {
    /// Whatever the caller may see of them.
    package var known: KnownDevices
    /// Devices that this deployment may not have, each with who holds it, in words.
    package var taken: [String: String]
    /// What another generation of this deployment has: given out when there is nothing else.
    package var inUse: [String]
    /// What replicas were given before, by `process-index`: they keep it.
    package var given: [String: [String]]
    /// Whether something is started: what the machine does not have is then an error, and a note where a plan is only shown.
    package var isBinding: Bool

    package init(
        known: [String]? = nil,
        identifiers: [String: String] = [:],
        taken: [String: String] = [:],
        inUse: [String] = [],
        given: [String: [String]] = [:],
        isBinding: Bool = false
    ) {
        self.known = KnownDevices(indexes: known, identifiers: identifiers)
        self.taken = taken
        self.inUse = inUse
        self.given = given
        self.isBinding = isBinding
    }
}
