extension ReleaseKnowledge {
    /// One row for each line that differs, oldest first.
    ///
    /// Read from the packages of the releases named by `observed`. A new release is one more row.
    static let rows: [Self] = [
        Self(
            since: DynamoRelease(0, 8, 0),
            observed: DynamoRelease(0, 9, 0),
            requestPlanes: [.tcp, .http, .nats],
            responsePlanes: [.tcp],
            defaultEvents: .natsCore,
            usesStoreKV: true,
            hasDurableEvents: true
        ),
        Self(
            since: DynamoRelease(1, 0, 0),
            observed: DynamoRelease(1, 0, 2),
            requestPlanes: [.tcp, .http, .nats],
            responsePlanes: [.tcp],
            defaultEvents: .natsCore,
            usesStoreKV: false,
            hasDurableEvents: true,
            changes: [
                // Its parser still knows both, and refuses them.
                .removed(.flag("--connector"), of: "vllm", "write '--kv-transfer-config' with the connector as JSON"),
                .removed(
                    .variable("DYN_CONNECTOR"),
                    of: "vllm",
                    "remove it and write '--kv-transfer-config' with the connector as JSON"
                ),
            ]
        ),
        Self(
            since: DynamoRelease(1, 1, 0),
            observed: DynamoRelease(1, 1, 1),
            requestPlanes: [.tcp, .http, .nats],
            responsePlanes: [.tcp],
            defaultEvents: .natsCore,
            usesStoreKV: false,
            hasDurableEvents: true,
            changes: ["vllm", "sglang", "trtllm"].map {
                .added(.module("unified_main"), of: $0, "write the module without '.unified_main'")
            } + [
                .removed(
                    .variable("DYN_VLLM_KV_EVENT_PORT"),
                    of: "vllm",
                    "write '--kv-events-config' with the endpoint as JSON"
                ),
                .removed(.flag("--omni"), of: "vllm", "write 'module: dynamo.vllm.omni'"),
                .removed(.flag("--sleep-mode-level"), of: "vllm", "remove it"),
                .removed(.flag("--multimodal-processor"), of: "sglang", "remove it: the frontend does that work"),
                .removed(.flag("--disable-request-abort"), of: "trtllm", "remove it"),
                .removed(
                    .flag("--decode-fallback"),
                    of: "frontend",
                    "remove it: a frontend falls back unless it has '--enforce-disagg'"
                ),
                .added(.flag("--enforce-disagg"), of: "frontend", "remove it: that is what a frontend does"),
                .added(.flag("--migration-max-seq-len"), of: "frontend", "remove it"),
                .added(
                    .flag("--event-plane"),
                    of: "mocker",
                    "write 'planes: {events: ...}', which sets DYN_EVENT_PLANE"
                ),
                .added(.flag("--zmq-replay-ports"), of: "mocker", "remove it"),
                .added(.flag("--engine-type"), of: "mocker", "remove it"),
            ]
        ),
        Self(
            since: DynamoRelease(1, 2, 0),
            observed: DynamoRelease(1, 2, 1),
            requestPlanes: [.tcp, .http, .nats],
            responsePlanes: [.tcp],
            defaultEvents: .byDiscovery,
            usesStoreKV: false,
            hasDurableEvents: true,
            changes: [
                .removed(.flag("--router-max-tree-size"), "remove it: predicted blocks go by '--router-ttl-secs'"),
                .removed(
                    .variable("DYN_ROUTER_MAX_TREE_SIZE"),
                    "remove it: predicted blocks go by DYN_ROUTER_TTL_SECS"
                ),
                .removed(.flag("--router-prune-target-ratio"), "remove it: predicted blocks go by '--router-ttl-secs'"),
                .removed(
                    .variable("DYN_ROUTER_PRUNE_TARGET_RATIO"),
                    "remove it: predicted blocks go by DYN_ROUTER_TTL_SECS"
                ),
            ]
        ),
        Self(
            since: DynamoRelease(1, 3, 0),
            observed: DynamoRelease(1, 3, 1),
            requestPlanes: [.tcp, .nats],
            responsePlanes: [.tcp],
            defaultEvents: .zmq,
            usesStoreKV: false,
            hasDurableEvents: true,
            changes: [
                // The old spelling is an alias in later releases.
                .added(.flag("--publish-kv-events"), of: "trtllm", "write '--publish-events-and-metrics'"),
                .added(.flag("--enable-multimodal"), of: "sglang", "remove it"),
                .added(.flag("--enable-multimodal"), of: "trtllm", "write '--modality', 'multimodal'"),
                .added(.flag("--embedding-worker"), of: "vllm", "remove it"),
                .added(.flag("--enable-rl"), of: "vllm", "remove it"),
                .added(.flag("--router-predicted-ttl-secs"), "remove it"),
            ]
                + ["--dit-dp-size", "--dit-fsdp-size", "--dit-tp-size", "--enable-async-cpu-offload", "--fuse-qkv"].map
            {
                .removed(.flag($0), of: "trtllm", "remove it")
            }
        ),
        Self(
            since: DynamoRelease(1, 4, 0),
            observed: DynamoRelease(1, 4, 2),
            requestPlanes: [.tcp, .nats],
            responsePlanes: [.tcp],
            defaultEvents: .zmq,
            usesStoreKV: false,
            hasDurableEvents: false,
            changes: ["vllm", "sglang", "trtllm"].map {
                .removed(.module("unified_main"), of: $0, "write the module without '.unified_main'")
            }
                + ["prefill", "decode"].flatMap { mode -> [ReleaseChange] in
                    let remedy = "write '--disaggregation-mode', '\(mode)'"
                    let variable = "DYN_VLLM_IS_\(mode.uppercased())_WORKER"
                    return [
                        .removed(.flag("--is-\(mode)-worker"), of: "vllm", remedy),
                        .removed(.variable(variable), of: "vllm", "remove it and \(remedy)"),
                    ]
                } + [
                    .removed(
                        .flag("--multimodal-encode-worker"),
                        of: "vllm",
                        "write '--enable-multimodal', '--disaggregation-mode', 'encode'"
                    ),
                    .removed(
                        .flag("--multimodal-decode-worker"),
                        of: "vllm",
                        "write '--enable-multimodal', '--disaggregation-mode', 'decode'"
                    ),
                    .removed(.flag("--multimodal-worker"), of: "vllm", "write '--enable-multimodal'"),
                    .removed(
                        .flag("--multimodal-encode-worker"),
                        of: "sglang",
                        "write '--enable-multimodal', '--disaggregation-mode', 'encode'"
                    ),
                    .removed(.flag("--multimodal-worker"), of: "sglang", "write '--enable-multimodal'"),
                    .removed(
                        .flag("--router-reset-states"),
                        "remove it: the router keeps no state that could be reset"
                    ),
                    .removed(
                        .variable("DYN_ROUTER_RESET_STATES"),
                        "remove it: the router keeps no state that could be reset"
                    ),
                    .removed(.flag("--router-snapshot-threshold"), "remove it: the router keeps no snapshots"),
                    .removed(.variable("DYN_ROUTER_SNAPSHOT_THRESHOLD"), "remove it: the router keeps no snapshots"),
                    .removed(
                        .flag("--router-durable-kv-events"),
                        "remove it: routers ask workers for what they have missed"
                    ),
                    .removed(.flag("--durable-kv-events"), "remove it: routers ask workers for what they have missed"),
                    .added(.flag("--max-model-len"), of: "mocker", "remove it"),
                ]
        ),
        Self(
            since: DynamoRelease(1, 6, 0),
            observed: DynamoRelease(1, 6, 1),
            requestPlanes: [.tcp, .nats],
            responsePlanes: [.tcp, .quic],
            defaultEvents: .zmq,
            usesStoreKV: false,
            hasDurableEvents: false,
            changes: [
                .added(.flag("--response-plane"), "remove it"),
                .added(.flag("--publish-metrics"), of: "trtllm", "write '--publish-events-and-metrics'"),
                .added(.flag("--rerank-worker"), of: "sglang", "remove it"),
                .added(.flag("--tokenizer-fallback"), of: "frontend", "remove it"),
            ]
        ),
    ]
}
