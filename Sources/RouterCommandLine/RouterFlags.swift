import ArgumentParser
package import KVRouter

/// A setting of a router that the command line gives.
package struct RouterSetting: Hashable, Sendable {
    package var name: RouterKnob.Name
    package var flag: String
    package var text: String

    package init(name: RouterKnob.Name, flag: String, text: String) {
        self.name = name
        self.flag = flag
        self.text = text
    }
}

/// The options of Dynamo's KV router that are understood here; each wins over its variable.
package struct RouterFlags: ParsableArguments {
    package init() {}

    @Option(
        help: "What a block counts that a worker holds, from 0 to 1 (DYN_ROUTER_KV_OVERLAP_SCORE_CREDIT; default: 1)."
    )
    var routerKvOverlapScoreCredit: String?

    @Option(
        name: [.long, .customLong("router-kv-overlap-score-weight"), .customLong("kv-overlap-score-weight")],
        help: "What a block counts that must be computed (DYN_ROUTER_PREFILL_LOAD_SCALE; default: 1)."
    )
    var routerPrefillLoadScale: String?

    @Option(help: "0: the lowest cost wins; above: chance, the more the higher (DYN_ROUTER_TEMPERATURE; default: 0).")
    var routerTemperature: String?

    @Flag(
        name: [.long, .customLong("kv-events")],
        inversion: .prefixedNo,
        help: "Whether workers tell what they hold; otherwise it is predicted (DYN_ROUTER_USE_KV_EVENTS; default: on)."
    )
    var routerKvEvents: Bool?

    @Flag(
        name: [.long, .customLong("durable-kv-events")],
        inversion: .prefixedNo,
        help: """
            Whether workers tell it on JetStream, as Dynamo's do with --durable-kv-events \
            (DYN_ROUTER_DURABLE_KV_EVENTS; default: off).
            """
    )
    var routerDurableKvEvents: Bool?

    @Option(
        help: """
            With durable events: messages that the stream may hold before a snapshot of the index replaces them \
            (DYN_ROUTER_SNAPSHOT_THRESHOLD; default: 1000000).
            """
    )
    var routerSnapshotThreshold: String?

    @Flag(
        inversion: .prefixedNo,
        help: """
            With durable events: whether events and snapshots from before are forgotten at the start, for all routers \
            (DYN_ROUTER_RESET_STATES; default: off).
            """
    )
    var routerResetStates: Bool?

    @Flag(
        inversion: .prefixedNo,
        help: "Whether routers tell each other what runs where (DYN_ROUTER_REPLICA_SYNC; default: off)."
    )
    var routerReplicaSync: Bool?

    @Flag(
        name: [.long, .customLong("track-active-blocks")],
        inversion: .prefixedNo,
        help: "Whether prompts' blocks count as load (DYN_ROUTER_TRACK_ACTIVE_BLOCKS; default: on)."
    )
    var routerTrackActiveBlocks: Bool?

    @Flag(
        name: [.long, .customLong("track-output-blocks")],
        inversion: .prefixedNo,
        help: "Whether generated blocks count as load (DYN_ROUTER_TRACK_OUTPUT_BLOCKS; default: off)."
    )
    var routerTrackOutputBlocks: Bool?

    @Flag(
        name: [.long, .customLong("assume-kv-reuse")],
        inversion: .prefixedNo,
        help: "Whether equal prompts share blocks in a worker's cache (DYN_ROUTER_ASSUME_KV_REUSE; default: on)."
    )
    var routerAssumeKvReuse: Bool?

    @Flag(
        inversion: .prefixedNo,
        help: "Whether unprocessed prompts count as load (DYN_ROUTER_TRACK_PREFILL_TOKENS; default: on)."
    )
    var routerTrackPrefillTokens: Bool?

    @Option(help: "Without KV events: how long a block is believed in (DYN_ROUTER_TTL_SECS; default: 120).")
    var routerTtlSecs: String?

    @Option(
        help: """
            A request waits while all workers have more unprocessed tokens than this many of their steps; None: never \
            (DYN_ROUTER_QUEUE_THRESHOLD; default: 4).
            """
    )
    var routerQueueThreshold: String?

    @Option(
        help: "Which waiting request goes first: fcfs or wspt, the shortest (DYN_ROUTER_QUEUE_POLICY; default: fcfs).",
        completion: .list(QueuePolicy.allCases.map(\.rawValue))
    )
    var routerQueuePolicy: String?

    @Option(help: "Workers that must be there before the router is ready (DYN_ROUTER_MIN_INITIAL_WORKERS; default: 0).")
    var routerMinInitialWorkers: String?

    /// What the command line sets.
    package var given: [RouterSetting] {
        func word(_ name: RouterKnob.Name, _ flag: String, _ text: String?) -> RouterSetting? {
            text.map { RouterSetting(name: name, flag: "--\(flag)", text: $0) }
        }
        func flag(_ name: RouterKnob.Name, _ flag: String, _ isOn: Bool?) -> RouterSetting? {
            isOn.map { RouterSetting(name: name, flag: $0 ? "--\(flag)" : "--no-\(flag)", text: "\($0)") }
        }
        let all = [
            word(.overlapCredit, "router-kv-overlap-score-credit", self.routerKvOverlapScoreCredit),
            word(.prefillLoadScale, "router-prefill-load-scale", self.routerPrefillLoadScale),
            word(.temperature, "router-temperature", self.routerTemperature),
            flag(.kvEvents, "router-kv-events", self.routerKvEvents),
            flag(.durableKVEvents, "router-durable-kv-events", self.routerDurableKvEvents),
            word(.snapshotThreshold, "router-snapshot-threshold", self.routerSnapshotThreshold),
            flag(.resetStates, "router-reset-states", self.routerResetStates),
            flag(.replicaSync, "router-replica-sync", self.routerReplicaSync),
            flag(.trackActiveBlocks, "router-track-active-blocks", self.routerTrackActiveBlocks),
            flag(.trackOutputBlocks, "router-track-output-blocks", self.routerTrackOutputBlocks),
            flag(.assumeKVReuse, "router-assume-kv-reuse", self.routerAssumeKvReuse),
            flag(.trackPrefillTokens, "router-track-prefill-tokens", self.routerTrackPrefillTokens),
            word(.predictionLifetime, "router-ttl-secs", self.routerTtlSecs),
            word(.queueThreshold, "router-queue-threshold", self.routerQueueThreshold),
            word(.queuePolicy, "router-queue-policy", self.routerQueuePolicy),
            word(.minimalWorkers, "router-min-initial-workers", self.routerMinInitialWorkers),
        ]
        return all.compactMap(\.self)
    }
}
