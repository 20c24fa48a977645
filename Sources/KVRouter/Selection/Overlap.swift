/// How many blocks of a prompt, from its start, a worker holds.
package struct Overlap: Hashable, Sendable {
    /// Blocks in the memory of the accelerator.
    package var device: Int
    /// Further blocks in the memory of the host.
    package var host: Int
    /// Further blocks on disk.
    package var disk: Int

    package init(device: Int = 0, host: Int = 0, disk: Int = 0) {
        (self.device, self.host, self.disk) = (device, host, disk)
    }
}

/// What knows which workers hold the beginning of a prompt: an index of KV events, or a prediction.
package protocol OverlapSource: Sendable {
    /// The workers that hold at least the first block.
    ///
    /// Called for each request, from any thread; it must not wait for anything.
    ///
    /// - Parameter hashes: of the prompt's full blocks, in order.
    /// - Returns: how much each of them holds.
    func overlaps(_ hashes: [TokensHash]) -> [WorkerRank: Overlap]
}
