/// What routers tell each other about the requests that they have sent, so that each knows the load of all.
///
/// Names and meaning are those of Dynamo 1.2.1's `active_sequences_events` (contract `kv-events.md`, section 6); a codec maps it to
/// `{"request_id","worker":{"worker_id","dp_rank"},"data","router_id","lora_name"}`.
package struct ActiveSequenceEvent: Hashable, Sendable {
    package var requestID: String
    package var worker: WorkerRank
    package var change: Change
    /// The sender: on 1.6 also a worker, which says itself when it has processed a prompt.
    package var routerID: UInt64
    package var loraName: String?

    /// `data`: a map with one key, or a bare string.
    package enum Change: Hashable, Sendable {
        case addRequest(AddedRequest)
        /// The first token has come.
        case markPrefillCompleted
        /// The request has ended.
        case free

        /// The key or string on the wire.
        package var wireName: String {
            switch self {
            case .addRequest: "AddRequest"
            case .markPrefillCompleted: "MarkPrefillCompleted"
            case .free: "Free"
            }
        }
    }

    /// `{"token_sequence","track_prefill_tokens","expected_output_tokens","prefill_load_hint"}`.
    package struct AddedRequest: Hashable, Sendable {
        /// The chained hashes of the prompt's blocks.
        package var tokenSequence: [BlockHash]
        package var trackPrefillTokens: Bool
        package var expectedOutputTokens: UInt32?
        package var prefillLoadHint: PrefillLoadHint?

        package init(
            tokenSequence: [BlockHash],
            trackPrefillTokens: Bool = true,
            expectedOutputTokens: UInt32? = nil,
            prefillLoadHint: PrefillLoadHint? = nil
        ) {
            self.tokenSequence = tokenSequence
            self.trackPrefillTokens = trackPrefillTokens
            self.expectedOutputTokens = expectedOutputTokens
            self.prefillLoadHint = prefillLoadHint
        }
    }

    /// `{"initial_effective_prefill_tokens","expected_prefill_duration"}`.
    package struct PrefillLoadHint: Hashable, Sendable {
        /// Tokens of the prompt that the worker must process.
        package var initialEffectivePrefillTokens: Int
        /// Null unless a load model predicts it; kept as it was read, in seconds.
        package var expectedPrefillDuration: Double?

        package init(initialEffectivePrefillTokens: Int, expectedPrefillDuration: Double? = nil) {
            self.initialEffectivePrefillTokens = initialEffectivePrefillTokens
            self.expectedPrefillDuration = expectedPrefillDuration
        }
    }

    package init(
        requestID: String,
        worker: WorkerRank,
        change: Change,
        routerID: UInt64,
        loraName: String? = nil
    ) {
        self.requestID = requestID
        self.worker = worker
        self.change = change
        self.routerID = routerID
        self.loraName = loraName
    }
}
