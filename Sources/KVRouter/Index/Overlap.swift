/// How many blocks of a prompt a worker has, from the start and without a hole, each counted on its fastest tier.
///
/// The weights of the tiers belong to the selection.
package struct Overlap: Hashable, Sendable {
    package var device: Int
    package var hostPinned: Int
    package var disk: Int
    package var external: Int

    package init(device: Int = 0, hostPinned: Int = 0, disk: Int = 0, external: Int = 0) {
        self.device = device
        self.hostPinned = hostPinned
        self.disk = disk
        self.external = external
    }

    /// Blocks on any tier.
    package var blocks: Int { self.device + self.hostPinned + self.disk + self.external }
}

extension StorageTier {
    /// The fastest tier has the lowest bit.
    var bit: UInt32 {
        switch self {
        case .device: 1
        case .hostPinned: 2
        case .disk: 4
        case .external: 8
        }
    }
}
