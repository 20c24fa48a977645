/// The flags of programs that can be started, as their parsers have them.
///
/// Where flags came or went between releases is known to ``ReleaseKnowledge``; this finds those that are misspelt.
enum KnownFlags {
    /// The flags of a component of Dynamo; nil where they were not read.
    ///
    /// Read from the argument parsers of the releases 1.2.1 and 1.6.1, hidden flags included.
    static func flags(of component: String, in release: DynamoRelease) -> Set<String>? {
        self.dynamo["\(component) \(release)"].map(self.split)
    }

    /// The flags of our own programs.
    static func flags(of builtin: ProcessManifest.Builtin) -> Set<String> {
        switch builtin {
        case .frontend: self.split(self.router + " " + self.frontend)
        case .router: self.split(self.router + " endpoint router-block-size")
        case .worker: self.split(self.worker)
        }
    }

    private static func split(_ names: String) -> Set<String> {
        Set(names.split(whereSeparator: \.isWhitespace).map { "--\($0)" })
    }

    /// Those of both that choose workers.
    private static let router = """
        assume-kv-reuse durable-kv-events help kv-events kv-overlap-score-weight no-assume-kv-reuse
        no-durable-kv-events no-kv-events no-router-assume-kv-reuse no-router-durable-kv-events no-router-kv-events
        no-router-replica-sync no-router-reset-states no-router-track-active-blocks no-router-track-output-blocks
        no-router-track-prefill-tokens no-track-active-blocks no-track-output-blocks router-assume-kv-reuse
        router-durable-kv-events router-kv-events router-kv-overlap-score-credit router-kv-overlap-score-weight
        router-min-initial-workers router-prefill-load-scale router-queue-policy router-queue-threshold
        router-replica-sync router-reset-states router-snapshot-threshold router-temperature
        router-track-active-blocks router-track-output-blocks router-track-prefill-tokens router-ttl-secs
        track-active-blocks track-output-blocks version
        """

    private static let frontend = """
        http-host http-port kv-cache-block-size namespace namespace-prefix router-mode
        """

    private static let worker = """
        answer-tokens block-size component context-length decode-tokens-per-second disaggregation-mode
        durable-kv-events endpoint engine event-form help max-batch max-batched-tokens model-name model-path
        no-durable-kv-events num-blocks prefill-tokens-per-second rate relay-block-size relay-kv-events relay-replay
        relay-topic router-durable-kv-events seed serve speedup startup-delay version
        """

    private static let dynamo = [
        "frontend 1.2.1":
            "\(frontends) durable-kv-events no-durable-kv-events no-router-durable-kv-events no-router-reset-states router-durable-kv-events router-reset-states router-snapshot-threshold",
        "frontend 1.6.1": frontends + " " + """
            admission-control aic-attention-dp-size aic-moe-ep-size aic-moe-tp-size aic-mtp-seed aic-nextn
            aic-nextn-accept-rates ais-attention-dp-size ais-backend ais-backend-version ais-model-path
            ais-moe-ep-size ais-moe-tp-size ais-mtp-seed ais-nextn ais-nextn-accept-rates ais-perf-config ais-system
            ais-tp-size enable-session-prefix-index frontend-route-extension nats-tls-ca-cert-path
            nats-tls-client-cert-path nats-tls-client-key-path nats-tls-insecure no-enable-session-prefix-index
            no-nats-tls-insecure no-router-conditional-disagg no-tokenizer-fallback reasoning-field-name
            response-plane router-approximate-cache-policy router-conditional-disagg router-conditional-disagg-config
            router-decode-active-request-weight router-decode-policy router-disk-cache-hit-weight
            router-host-cache-hit-weight router-kv-overlap-score-credit-decay router-policy-config
            router-predicted-ttl-secs router-prefill-policy router-session-affinity-mode
            router-session-affinity-ttl-secs router-tracking-hash router-tracking-key-file router-tracking-key-id
            tcp-tls-ca-cert-path tcp-tls-cert-path tcp-tls-client-ca-cert-path tcp-tls-client-cert-path
            tcp-tls-client-key-path tcp-tls-key-path tls-client-ca-cert-path tokenizer-fallback
            """,
        "mocker 1.2.1": "\(mockers) durable-kv-events",
        "mocker 1.6.1": mockers + " " + """
            active-decode-blocks-threshold active-prefill-tokens-threshold active-prefill-tokens-threshold-frac
            aic-mtp-seed aic-nextn aic-nextn-accept-rates ais-attention-dp-size ais-backend ais-backend-version
            ais-moe-ep-size ais-moe-tp-size ais-mtp-seed ais-nextn ais-nextn-accept-rates ais-perf-config
            ais-perf-model ais-system ais-tp-size assume-kv-reuse enable-session-prefix-index free-gpu-memory-fraction
            gpu-memory-utilization host-offload-d2h-bandwidth-gbps host-offload-h2d-bandwidth-gbps kv-events
            kv-overlap-score-weight kv-transfer-timing-mode load-aware max-model-len mem-fraction-static
            no-assume-kv-reuse no-enable-session-prefix-index no-kv-events no-load-aware no-router-assume-kv-reuse
            no-router-conditional-disagg no-router-kv-events no-router-replica-sync no-router-track-active-blocks
            no-router-track-output-blocks no-router-track-prefill-tokens no-track-active-blocks no-track-output-blocks
            no-use-remote-indexer num-host-blocks response-plane response-replay-trace-path
            router-approximate-cache-policy router-assume-kv-reuse router-conditional-disagg
            router-conditional-disagg-config router-decode-active-request-weight router-decode-policy
            router-disk-cache-hit-weight router-event-threads router-host-cache-hit-weight router-kv-events
            router-kv-overlap-score-credit router-kv-overlap-score-credit-decay router-kv-overlap-score-weight
            router-mode router-policy-config router-predicted-ttl-secs router-prefill-load-model
            router-prefill-load-scale router-prefill-policy router-queue-policy router-queue-threshold
            router-replica-sync router-session-affinity-mode router-session-affinity-ttl-secs router-temperature
            router-track-active-blocks router-track-output-blocks router-track-prefill-tokens router-tracking-hash
            router-tracking-key-file router-tracking-key-id router-ttl-secs sglang-generate shared-cache-multiplier
            shared-cache-type track-active-blocks track-output-blocks trtllm-capacity-scheduler-policy
            use-remote-indexer
            """,
        "router 1.2.1":
            "\(routers) durable-kv-events no-durable-kv-events no-router-durable-kv-events no-router-reset-states router-durable-kv-events router-reset-states router-snapshot-threshold",
        "router 1.6.1": routers + " " + """
            aic-attention-dp-size aic-moe-ep-size aic-moe-tp-size aic-mtp-seed aic-nextn aic-nextn-accept-rates
            ais-attention-dp-size ais-backend ais-backend-version ais-model-path ais-moe-ep-size ais-moe-tp-size
            ais-mtp-seed ais-nextn ais-nextn-accept-rates ais-perf-config ais-system ais-tp-size
            enable-session-prefix-index no-enable-session-prefix-index no-router-conditional-disagg
            router-approximate-cache-policy router-conditional-disagg router-conditional-disagg-config
            router-decode-active-request-weight router-decode-policy router-disk-cache-hit-weight
            router-host-cache-hit-weight router-kv-overlap-score-credit-decay router-policy-config
            router-predicted-ttl-secs router-prefill-policy router-tracking-hash router-tracking-key-file
            router-tracking-key-id
            """,
    ]

    /// Of both releases.
    private static let frontends = """
        active-decode-blocks-threshold active-prefill-tokens-threshold active-prefill-tokens-threshold-frac
        aic-backend aic-backend-version aic-model-path aic-system aic-tp-size assume-kv-reuse discovery-backend
        dump-config-to dyn-chat-processor dyn-debug-perf dyn-preprocess-workers enable-anthropic-api
        enable-streaming-reasoning-dispatch enable-streaming-tool-dispatch enforce-disagg event-plane
        exclude-tools-when-tool-choice-none grpc-metrics-port help http-host http-port interactive kserve-grpc-server
        kv-cache-block-size kv-events kv-overlap-score-weight load-aware metrics-prefix migration-limit
        migration-max-seq-len model-name model-path namespace namespace-prefix no-assume-kv-reuse no-dyn-debug-perf
        no-enable-anthropic-api no-enable-streaming-reasoning-dispatch no-enable-streaming-tool-dispatch
        no-enforce-disagg no-exclude-tools-when-tool-choice-none no-interactive no-kserve-grpc-server no-kv-events
        no-load-aware no-router-assume-kv-reuse no-router-kv-events no-router-replica-sync
        no-router-track-active-blocks no-router-track-output-blocks no-router-track-prefill-tokens no-serve-indexer
        no-strip-anthropic-preamble no-track-active-blocks no-track-output-blocks no-trust-remote-code
        no-use-remote-indexer request-plane router-assume-kv-reuse router-event-threads router-kv-events
        router-kv-overlap-score-credit router-kv-overlap-score-weight router-min-initial-workers router-mode
        router-prefill-load-model router-prefill-load-scale router-queue-policy router-queue-threshold
        router-replica-sync router-temperature router-track-active-blocks router-track-output-blocks
        router-track-prefill-tokens router-ttl-secs serve-indexer shared-cache-multiplier shared-cache-type
        strip-anthropic-preamble tls-cert-path tls-key-path tokenizer track-active-blocks track-output-blocks
        trust-remote-code use-remote-indexer version
        """

    /// Of both releases.
    private static let mockers = """
        aic-attention-dp-size aic-backend aic-backend-version aic-moe-ep-size aic-moe-tp-size aic-perf-model
        aic-system aic-tp-size block-size bootstrap-ports data-parallel-size decode-speedup-ratio disaggregation-mode
        discovery-backend enable-chunked-prefill enable-prefix-caching endpoint engine-type event-plane
        extra-engine-args help is-decode-worker is-prefill-worker kv-bytes-per-token kv-cache-dtype
        kv-transfer-bandwidth max-num-batched-tokens max-num-seqs model-name model-path no-enable-chunked-prefill
        no-enable-prefix-caching num-gpu-blocks-override num-workers planner-profile-data preemption-mode reasoning
        request-plane sglang-chunked-prefill-size sglang-clip-max-new-tokens sglang-max-prefill-tokens
        sglang-page-size sglang-schedule-conservativeness sglang-schedule-policy speedup-ratio stagger-delay
        startup-time version zmq-kv-events-ports zmq-replay-ports
        """

    /// Of both releases.
    private static let routers = """
        aic-backend aic-backend-version aic-model-path aic-system aic-tp-size assume-kv-reuse block-size endpoint help
        kv-events kv-overlap-score-weight load-aware no-assume-kv-reuse no-kv-events no-load-aware
        no-router-assume-kv-reuse no-router-kv-events no-router-replica-sync no-router-track-active-blocks
        no-router-track-output-blocks no-router-track-prefill-tokens no-serve-indexer no-track-active-blocks
        no-track-output-blocks no-use-remote-indexer router-assume-kv-reuse router-block-size router-event-threads
        router-kv-events router-kv-overlap-score-credit router-kv-overlap-score-weight router-prefill-load-model
        router-prefill-load-scale router-queue-policy router-queue-threshold router-replica-sync router-temperature
        router-track-active-blocks router-track-output-blocks router-track-prefill-tokens router-ttl-secs
        serve-indexer shared-cache-multiplier shared-cache-type track-active-blocks track-output-blocks
        use-remote-indexer
        """
}
