/// One setting of Dynamo's routers: how it is named, what it may be, and what it is when nobody sets it.
///
/// Source: `kv-events.md` 5, and the `--help` of 1.2.1 and 1.6.1.
package struct RouterKnob: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        case flag
        case number(ClosedRange<Double>)
        case count(ClosedRange<Int>)
        case word([String])
    }

    package enum Name: String, Hashable, Sendable, CaseIterable {
        case mode, overlapCredit, overlapCreditDecay, prefillLoadScale, hostCacheWeight, diskCacheWeight
        case activeRequestWeight, temperature, kvEvents, durableKVEvents, replicaSync, trackActiveBlocks
        case trackOutputBlocks, assumeKVReuse, trackPrefillTokens, prefillLoadModel, snapshotThreshold, resetStates
        case predictionLifetime, queueThreshold, queuePolicy, eventThreads, minimalWorkers, remoteIndexer
        case servesIndexer, sharedCacheMultiplier, sharedCacheType, loadAware, enforcesDisaggregation
        case decodeBlocksThreshold, prefillTokensThreshold, prefillTokensFractionThreshold, blockSize
    }

    package var name: Name
    /// The spelling first that this release documents, then those that it takes besides.
    package var flags: [String]
    /// The environment variable.
    package var variable: String
    package var kind: Kind
    /// What it is when it is not set; nil: nothing.
    package var fallback: String?

    fileprivate init(
        _ name: Name,
        _ flags: [String],
        _ variable: String,
        _ kind: Kind,
        _ fallback: String?
    ) {
        (self.name, self.flags, self.variable, self.kind, self.fallback) = (name, flags, variable, kind, fallback)
    }

    /// The settings that routers of a release have.
    package static func all(of release: RouterRelease) -> [RouterKnob] {
        switch release {
        case .v1_0: self.v1_0
        case .v1_2: self.v1_2
        case .v1_6: self.v1_6
        }
    }

    /// A setting of a release; nil when it does not have it.
    package static func named(_ name: Name, of release: RouterRelease) -> RouterKnob? {
        self.all(of: release).first { $0.name == name }
    }

    // MARK: Tables

    private static let fraction = Kind.number(0...1)
    private static let positive = Kind.number(0 ... .greatestFiniteMagnitude)
    private static let anyCount = Kind.count(0 ... .max)

    /// An `on` and an `off` spelling for each name.
    private static func negatable(_ names: String...) -> [String] { names.flatMap { ["--\($0)", "--no-\($0)"] } }

    private static let v1_2: [RouterKnob] = [
        .init(.mode, ["--router-mode"], "DYN_ROUTER_MODE", .word(RouterMode.allCases.map(\.rawValue)), "round-robin"),
        .init(
            .overlapCredit,
            ["--router-kv-overlap-score-credit"],
            "DYN_ROUTER_KV_OVERLAP_SCORE_CREDIT",
            fraction,
            "1.0"
        ),
        .init(
            .prefillLoadScale,
            ["--router-prefill-load-scale", "--router-kv-overlap-score-weight", "--kv-overlap-score-weight"],
            "DYN_ROUTER_PREFILL_LOAD_SCALE",
            positive,
            "1.0"
        ),
        .init(.temperature, ["--router-temperature"], "DYN_ROUTER_TEMPERATURE", positive, "0.0"),
        .init(.kvEvents, negatable("router-kv-events", "kv-events"), "DYN_ROUTER_USE_KV_EVENTS", .flag, "true"),
        .init(
            .durableKVEvents,
            negatable("router-durable-kv-events", "durable-kv-events"),
            "DYN_ROUTER_DURABLE_KV_EVENTS",
            .flag,
            "false"
        ),
        .init(.replicaSync, negatable("router-replica-sync"), "DYN_ROUTER_REPLICA_SYNC", .flag, "false"),
        .init(
            .trackActiveBlocks,
            negatable("router-track-active-blocks", "track-active-blocks"),
            "DYN_ROUTER_TRACK_ACTIVE_BLOCKS",
            .flag,
            "true"
        ),
        .init(
            .trackOutputBlocks,
            negatable("router-track-output-blocks", "track-output-blocks"),
            "DYN_ROUTER_TRACK_OUTPUT_BLOCKS",
            .flag,
            "false"
        ),
        .init(
            .assumeKVReuse,
            negatable("router-assume-kv-reuse", "assume-kv-reuse"),
            "DYN_ROUTER_ASSUME_KV_REUSE",
            .flag,
            "true"
        ),
        .init(
            .trackPrefillTokens,
            negatable("router-track-prefill-tokens"),
            "DYN_ROUTER_TRACK_PREFILL_TOKENS",
            .flag,
            "true"
        ),
        .init(
            .prefillLoadModel,
            ["--router-prefill-load-model"],
            "DYN_ROUTER_PREFILL_LOAD_MODEL",
            .word(["none", "aic"]),
            "none"
        ),
        .init(
            .snapshotThreshold,
            ["--router-snapshot-threshold"],
            "DYN_ROUTER_SNAPSHOT_THRESHOLD",
            .count(1 ... .max),
            "1000000"
        ),
        .init(.resetStates, negatable("router-reset-states"), "DYN_ROUTER_RESET_STATES", .flag, "false"),
        .init(.predictionLifetime, ["--router-ttl-secs"], "DYN_ROUTER_TTL_SECS", .number(0...31_536_000), "120.0"),
        .init(.queueThreshold, ["--router-queue-threshold"], "DYN_ROUTER_QUEUE_THRESHOLD", positive, "4.0"),
        .init(
            .queuePolicy,
            ["--router-queue-policy"],
            "DYN_ROUTER_QUEUE_POLICY",
            .word(QueuePolicy.allCases.map(\.rawValue)),
            "fcfs"
        ),
        .init(.eventThreads, ["--router-event-threads"], "DYN_ROUTER_EVENT_THREADS", .count(1...1024), "4"),
        .init(.minimalWorkers, ["--router-min-initial-workers"], "DYN_ROUTER_MIN_INITIAL_WORKERS", anyCount, "0"),
        .init(.remoteIndexer, negatable("use-remote-indexer"), "DYN_USE_REMOTE_INDEXER", .flag, "false"),
        .init(.servesIndexer, negatable("serve-indexer"), "DYN_SERVE_INDEXER", .flag, "false"),
        .init(
            .sharedCacheMultiplier,
            ["--shared-cache-multiplier"],
            "DYN_SHARED_CACHE_MULTIPLIER",
            fraction,
            "0.5"
        ),
        .init(
            .sharedCacheType,
            ["--shared-cache-type"],
            "DYN_SHARED_CACHE_TYPE",
            .word(["none", "hicache"]),
            "none"
        ),
        .init(.loadAware, negatable("load-aware"), "DYN_ROUTER_LOAD_AWARE", .flag, "false"),
        .init(.enforcesDisaggregation, negatable("enforce-disagg"), "DYN_ENFORCE_DISAGG", .flag, "false"),
        .init(
            .decodeBlocksThreshold,
            ["--active-decode-blocks-threshold"],
            "DYN_ACTIVE_DECODE_BLOCKS_THRESHOLD",
            fraction,
            "1.0"
        ),
        .init(
            .prefillTokensThreshold,
            ["--active-prefill-tokens-threshold"],
            "DYN_ACTIVE_PREFILL_TOKENS_THRESHOLD",
            anyCount,
            "10000000"
        ),
        .init(
            .prefillTokensFractionThreshold,
            ["--active-prefill-tokens-threshold-frac"],
            "DYN_ACTIVE_PREFILL_TOKENS_THRESHOLD_FRAC",
            positive,
            "10.0"
        ),
        .init(.blockSize, ["--kv-cache-block-size"], "DYN_KV_CACHE_BLOCK_SIZE", .count(1...1_048_576), nil),
    ]

    private static let thresholds: Set<Name> = [
        .queueThreshold, .decodeBlocksThreshold, .prefillTokensThreshold, .prefillTokensFractionThreshold,
    ]

    /// Credit and scale were one weight on prefill blocks, which is what the scale is now.
    private static let v1_0: [RouterKnob] = v1_2.compactMap { knob in
        var knob = knob
        if thresholds.contains(knob.name) { knob.fallback = nil }
        switch knob.name {
        case .overlapCredit, .sharedCacheMultiplier, .sharedCacheType, .remoteIndexer, .servesIndexer, .loadAware,
            .prefillLoadModel, .trackPrefillTokens, .queuePolicy:
            return nil
        case .prefillLoadScale:
            knob.flags = ["--router-kv-overlap-score-weight", "--kv-overlap-score-weight"]
            knob.variable = "DYN_ROUTER_KV_OVERLAP_SCORE_WEIGHT"
        case .mode: knob.kind = .word(["round-robin", "random", "kv", "direct"])
        default: break
        }
        return knob
    }

    private static let v1_6: [RouterKnob] =
        v1_2.compactMap { knob in
            var knob = knob
            if thresholds.contains(knob.name) { knob.fallback = nil }
            switch knob.name {
            case .durableKVEvents, .snapshotThreshold, .resetStates: return nil
            case .sharedCacheMultiplier: knob.fallback = nil
            default: break
            }
            return knob
        } + [
            .init(
                .overlapCreditDecay,
                ["--router-kv-overlap-score-credit-decay"],
                "DYN_ROUTER_KV_OVERLAP_SCORE_CREDIT_DECAY",
                positive,
                "0.0"
            ),
            .init(
                .activeRequestWeight,
                ["--router-decode-active-request-weight"],
                "DYN_ROUTER_DECODE_ACTIVE_REQUEST_WEIGHT",
                positive,
                "0.0"
            ),
            .init(
                .hostCacheWeight,
                ["--router-host-cache-hit-weight"],
                "DYN_ROUTER_HOST_CACHE_HIT_WEIGHT",
                fraction,
                "0.75"
            ),
            .init(
                .diskCacheWeight,
                ["--router-disk-cache-hit-weight"],
                "DYN_ROUTER_DISK_CACHE_HIT_WEIGHT",
                fraction,
                "0.25"
            ),
        ]
}
