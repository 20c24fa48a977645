/// What it would cost a worker to take a request, in blocks.
///
/// Source: `kv-events.md` 5. Release 1.0 has one weight on the prefill blocks, which is `prefillLoadScale` here.
package struct CostFunction: Hashable, Sendable {
    /// What a block counts that the device holds.
    package var overlapCredit = 1.0
    /// How fast that fades with a worker's prefill load above the least loaded worker's: 1 halves it at one prompt more.
    package var overlapCreditDecay = 0.0
    /// What a block counts that the host holds.
    package var hostWeight = 0.75
    /// What a block counts that the disk holds.
    package var diskWeight = 0.25
    /// What a block counts that must be computed.
    package var prefillLoadScale = 1.0
    /// What each running request counts.
    package var activeRequestWeight = 0.0

    package init() {}

    /// What is known of a worker when a request comes.
    package struct Situation: Hashable, Sendable {
        /// Tokens of the request's prompt.
        package var promptTokens: Int
        /// Tokens of other prompts that the worker has still to process.
        package var activePrefillTokens = 0
        /// The same of the worker that has the fewest.
        package var leastPrefillTokens = 0
        package var overlap = Overlap()
        /// Distinct blocks in use once the request is there.
        package var decodeBlocks = 0.0
        /// Requests that run there.
        package var activeRequests = 0

        package init(promptTokens: Int) { self.promptTokens = promptTokens }
    }

    /// The blocks that need not be computed, weighted.
    package func credit(_ situation: Situation) -> Double {
        let excess = Double(max(0, situation.activePrefillTokens - situation.leastPrefillTokens))
        let fading = 1 + self.overlapCreditDecay * excess / Double(max(1, situation.promptTokens))
        return self.overlapCredit / fading * Double(situation.overlap.device)
            + self.hostWeight * Double(situation.overlap.hostPinned)
            + self.diskWeight * Double(situation.overlap.disk)
    }

    /// The cost in blocks; the lowest wins.
    package func cost(_ situation: Situation, blockSize: Int) -> Double {
        let tokens = Double(situation.activePrefillTokens) + Double(situation.promptTokens)
        let prefill = max(0, tokens / Double(blockSize) - self.credit(situation))
        return self.prefillLoadScale * prefill + situation.decodeBlocks
            + self.activeRequestWeight * Double(situation.activeRequests)
    }
}
