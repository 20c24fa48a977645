/// What a router has sent where, for other routers: the payload of the topic `active_sequences_events` (contract `kv-events.md`,
/// section 6), in the form of Dynamo 1.2 and 1.6.
package struct ActiveSequenceEvent: Hashable, Sendable {
    package var requestID: String
    package var worker: WorkerRank
    package var change: Change
    /// Who says so; a router ignores its own events.
    package var router: UInt64
    package var lora: String?

    package enum Change: Hashable, Sendable {
        /// A request was sent to the worker.
        case added(Added)
        /// Its first token has come.
        case prefillCompleted
        /// It has ended.
        case freed
    }

    /// What a request costs its worker.
    package struct Added: Hashable, Sendable {
        /// The chained hashes of the prompt's full blocks.
        package var blocks: [BlockHash]
        package var tracksPrefill: Bool
        package var expectedOutputTokens: UInt64?
        /// Tokens of the prompt that the worker has to compute; nil when nothing is said.
        package var prefillTokens: UInt64?

        package init(
            blocks: [BlockHash],
            tracksPrefill: Bool = true,
            expectedOutputTokens: UInt64? = nil,
            prefillTokens: UInt64? = nil
        ) {
            self.blocks = blocks
            self.tracksPrefill = tracksPrefill
            self.expectedOutputTokens = expectedOutputTokens
            self.prefillTokens = prefillTokens
        }
    }

    package init(requestID: String, worker: WorkerRank, change: Change, router: UInt64, lora: String? = nil) {
        self.requestID = requestID
        self.worker = worker
        self.change = change
        self.router = router
        self.lora = lora
    }
}
