import KVRouter

/// What a relay makes of engine events in a release of Dynamo: a row of data per release (contract `kv-events.md`, section 8).
package struct RelayRules: Sendable, Hashable {
    /// Tokens of a block, as the model's card says; engine events of another size lose their blocks.
    ///
    /// Nil while the card is not known: blocks of every size are handed on, with their size.
    package var blockSize: Int?
    /// Whether blocks that an engine holds in main memory are told apart from those on the device.
    package var knowsMedium: Bool
    /// Whether a store that continues the one before it in the same batch becomes one event with it.
    package var mergesStores: Bool

    package init(blockSize: Int?, knowsMedium: Bool, mergesStores: Bool) {
        precondition(blockSize.map { $0 > 0 } ?? true, "a block has at least one token")
        self.blockSize = blockSize
        self.knowsMedium = knowsMedium
        self.mergesStores = mergesStores
    }

    /// As 1.0.2 and 1.2.1 do.
    package static func v121(blockSize: Int?) -> Self {
        Self(blockSize: blockSize, knowsMedium: false, mergesStores: false)
    }

    /// As 1.6.1 does.
    package static func v161(blockSize: Int?) -> Self {
        Self(blockSize: blockSize, knowsMedium: true, mergesStores: true)
    }

    /// The tier of an engine's name for a place.
    func tier(_ medium: String?) -> StorageTier {
        guard self.knowsMedium else { return .device }
        switch medium?.lowercased() {
        case "cpu", "cpu_pinned", "host": return .hostPinned
        case "disk", "storage": return .disk
        default: return .device
        }
    }
}
