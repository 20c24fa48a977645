/// vLLM: `examples/backends/vllm/launch/`.
extension UpstreamScript {
    private static let folder = "examples/backends/vllm/launch/"
    static let frontend = Process(name: "frontend", module: "dynamo.frontend")
    static let kvFrontend = Process(name: "frontend", module: "dynamo.frontend", arguments: ["--router-mode", "kv"])
    static let hashSeed = ["PYTHONHASHSEED": "0"]
    static let model = ["--model", "Qwen/Qwen3-0.6B"]
    static let nixl = ["--kv-transfer-config", #"{"kv_connector":"NixlConnector","kv_role":"kv_both"}"#]

    /// `--kv-events-config` with a port.
    static func events(_ port: Int) -> [String] {
        [
            "--kv-events-config",
            #"{"publisher":"zmq","topic":"kv-events","endpoint":"tcp://*:\#(port)","enable_kv_cache_events":true}"#,
        ]
    }

    static func vllm(
        _ name: String,
        _ arguments: [String],
        environment: [String: String] = [:],
        gpu: Int? = nil,
        system: Int? = nil,
        nixl: Int? = nil,
        kv: Int? = nil
    ) -> Process {
        Process(
            name: name,
            module: "dynamo.vllm",
            arguments: Self.model + arguments,
            environment: environment,
            gpus: gpu.map(String.init),
            system: system,
            nixl: nixl,
            kv: kv
        )
    }

    private static let aggArguments = ["--enforce-eager", "--max-model-len", "4096", "--max-num-seqs", "2"]
    private static let kvBytes = ["--kv-cache-memory-bytes", "1000", "--gpu-memory-utilization", "0.01"]
    private static let decode = ["--disaggregation-mode", "decode"]
    private static let prefill = ["--disaggregation-mode", "prefill"]
    private static let routed = ["--block-size", "64", "--enforce-eager"]
    private static let predicted = ["--block-size", "64", "--kv-events-config", #"{"enable_kv_cache_events": false}"#]
    private static let fraction = ["--gpu-memory-utilization", "0.45", "--max-model-len", "16384"]

    /// The worker of another module.
    private static func unified(_ process: Process) -> Process {
        var process = process
        process.module = "dynamo.vllm.unified_main"
        return process
    }

    private static let disaggregated = [
        vllm("decode", ["--enforce-eager"] + decode + nixl, gpu: 0, system: 8081),
        vllm(
            "prefill",
            ["--enforce-eager"] + prefill + nixl + events(20081),
            gpu: 1,
            system: 8082,
            nixl: 20097,
            kv: 20081
        ),
    ]

    static let vllm: [Self] = [
        Self(
            manifest: "agg",
            script: folder + "agg.sh",
            processes: [frontend, vllm("worker", aggArguments, system: 8081)]
        ),
        Self(
            manifest: "agg",
            script: folder + "agg.sh",
            set: ["model=my/model"],
            shell: [
                "DYN_SYSTEM_PORT": "9081", "MAX_MODEL_LEN": "512", "MAX_CONCURRENT_SEQS": "8", "DYN_HTTP_PORT": "9000",
                "_PROFILE_OVERRIDE_VLLM_KV_CACHE_BYTES": "1000",
            ],
            port: 9000,
            processes: [
                frontend,
                Process(
                    name: "worker",
                    module: "dynamo.vllm",
                    arguments: [
                        "--model", "my/model", "--enforce-eager", "--max-model-len", "512", "--max-num-seqs", "8",
                    ]
                        + kvBytes,
                    system: 9081
                ),
            ]
        ),
        Self(
            manifest: "agg",
            script: folder + "agg.sh",
            releases: "1.1 to 1.3",
            set: ["processes.worker.module=dynamo.vllm.unified_main"],
            processes: [frontend, unified(vllm("worker", aggArguments, system: 8081))]
        ),
        Self(
            manifest: "agg_request_planes",
            script: folder + "agg_request_planes.sh",
            processes: [
                frontend,
                vllm("worker", ["--enforce-eager"], environment: ["DYN_HEALTH_CHECK_ENABLED": "true"], system: 8081),
            ]
        ),
        Self(
            manifest: "agg_router",
            script: folder + "agg_router.sh",
            environment: hashSeed,
            processes: [
                kvFrontend,
                vllm("worker-0", routed + events(20080), gpu: 0, system: 8081, nixl: 20096, kv: 20080),
                vllm("worker-1", routed + events(20081), gpu: 1, system: 8082, nixl: 20097, kv: 20081),
            ]
        ),
        Self(
            manifest: "agg_router_approx",
            script: folder + "agg_router_approx.sh",
            environment: hashSeed,
            processes: [
                Process(
                    name: "frontend",
                    module: "dynamo.frontend",
                    arguments: ["--router-mode", "kv", "--no-kv-events"]
                ),
                vllm("worker-0", predicted, gpu: 0, system: 8081, nixl: 20096),
                vllm("worker-1", predicted, gpu: 1, system: 8082, nixl: 20097),
            ]
        ),
        Self(
            manifest: "agg_router_replicas",
            script: folder + "agg_router_replicas.sh",
            environment: hashSeed,
            processes: ["frontend-1", "frontend-2"].map { name in
                Process(
                    name: name,
                    module: "dynamo.frontend",
                    arguments: ["--router-mode", "kv", "--router-replica-sync"]
                )
            } + [
                vllm("worker-0", routed + events(20080), gpu: 0, system: 8081, nixl: 20096, kv: 20080),
                vllm("worker-1", routed + events(20081), gpu: 1, system: 8082, nixl: 20097, kv: 20081),
            ]
        ),
        Self(
            manifest: "disagg",
            script: folder + "disagg.sh",
            environment: hashSeed,
            processes: [frontend] + disaggregated
        ),
        Self(
            manifest: "disagg",
            script: folder + "disagg.sh",
            releases: "1.1 to 1.3",
            set: ["decode", "prefill"].map { "processes.\($0).module=dynamo.vllm.unified_main" },
            environment: hashSeed,
            processes: [frontend] + disaggregated.map(unified)
        ),
        Self(
            manifest: "disagg_router",
            script: folder + "disagg_router.sh",
            environment: hashSeed,
            processes: [
                kvFrontend,
                vllm("decode-0", routed + decode + nixl, gpu: 0, nixl: 20096),
                vllm("decode-1", routed + decode + nixl, gpu: 1, nixl: 20097),
                vllm("prefill-0", routed + prefill + nixl + events(20082), gpu: 2, nixl: 20098, kv: 20082),
                vllm("prefill-1", routed + prefill + nixl + events(20083), gpu: 3, nixl: 20099, kv: 20083),
            ]
        ),
        Self(
            manifest: "disagg_same_gpu",
            script: folder + "disagg_same_gpu.sh",
            processes: [
                frontend,
                vllm("decode", ["--enforce-eager"] + decode + nixl + fraction, gpu: 0, system: 8081),
                vllm(
                    "prefill",
                    ["--enforce-eager"] + prefill + nixl + fraction + events(20081),
                    gpu: 0,
                    system: 8082,
                    nixl: 20097,
                    kv: 20081
                ),
            ],
            waits: ["prefill": "decode: health"]
        ),
        Self(
            manifest: "dep",
            script: folder + "dep.sh",
            environment: hashSeed,
            processes: [kvFrontend]
                + (0..<4).map { rank in
                    Process(
                        name: "worker-\(rank)",
                        module: "dynamo.vllm",
                        arguments: [
                            "--model", "Qwen/Qwen3-30B-A3B", "--data-parallel-rank", "\(rank)", "--data-parallel-size",
                            "4",
                            "--enable-expert-parallel", "--enforce-eager",
                        ] + events(20080),
                        gpus: "\(rank)",
                        nixl: 20096 + rank,
                        kv: 20080 + rank
                    )
                }
        ),
        Self(
            manifest: "agg_tracing",
            script: folder + "agg_tracing.sh",
            environment: [
                "DYN_LOGGING_JSONL": "true", "OTEL_EXPORT_ENABLED": "true",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4317",
            ],
            processes: [
                Process(
                    name: "frontend",
                    module: "dynamo.frontend",
                    environment: ["OTEL_SERVICE_NAME": "dynamo-frontend"]
                ),
                vllm(
                    "worker",
                    ["--enforce-eager", "--otlp-traces-endpoint=http://localhost:4317"],
                    environment: ["OTEL_SERVICE_NAME": "dynamo-worker-vllm"],
                    system: 8081
                ),
            ]
        ),
    ]
}
