internal import Deployment
internal import Supervisor
internal import Synchronization

/// A migration that an earlier launcher has begun.
extension MigrationWork {
    /// What an earlier launcher has left.
    struct Remains: Sendable {
        /// What runs of each generation, or shall run; nil: nothing.
        var old: Plan?
        var new: Plan
        /// Percent of the requests that the new generation gets.
        var share: Int
    }

    /// The steps before which the new generation must be seen to run.
    private static let proving: [MigrationStep] = [.starting, .verifying, .canary, .shifting, .draining]

    /// Whether nobody has looked yet how the new generation is under this launcher.
    var isUnseen: Bool { self.state.withLock { $0.isUnseen } }

    /// Lets the requests go on as it is safe until the new generation was looked at.
    ///
    /// An old generation that has lost its last worker can answer nothing: what comes goes to the new one if that had its part before,
    /// and else waits.
    func keepShare() {
        let (old, share) = self.state.withLock { ($0.old, $0.share) }
        guard old != self.from, old?.replicas.contains(where: { $0.role == .worker }) != true else {
            return self.setShare(share)
        }
        self.setShare(share > 0 ? 100 : 0, held: share == 0)
    }

    /// Waits until the new generation is ready under this launcher, and proves it once more before it gets more requests.
    ///
    /// The old one may have processes that are stopped or started again, as in any migration; when it is lost, that is told by itself.
    ///
    /// - Parameter step: what is about to be done.
    /// - Returns: whether that was to be done.
    /// - Throws: as ``perform(_:stage:)``.
    func takeOver(before step: MigrationStep) async throws -> Bool {
        guard self.isUnseen, Self.proving.contains(step) else { return false }
        try await Self.within(self.settings.startTimeout) {
            try await self.control.takeOver(self.to)
        } late: {
            await self.lateness(of: self.to)
        }
        // The steps before it do so themselves, and behind it clients do.
        if step == .shifting {
            if !self.control.isLost(self.from.generation) { try await self.verify() }
            try await self.tryOut()
        }
        self.state.withLock { $0.isUnseen = false }
        return true
    }
}
