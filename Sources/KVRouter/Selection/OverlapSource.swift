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
