/// vLLM with further KV caches, SGLang, TensorRT-LLM and the mock engine.
extension UpstreamScript {
    private static let vllmFolder = "examples/backends/vllm/launch/"
    private static let kvbm =
        #"{"kv_connector":"DynamoConnector","kv_connector_module_path":"kvbm.vllm_integration.connector","kv_role":"kv_both"}"#
    /// Upstream's `--connector kvbm nixl`.
    private static let both = [
        "--kv-transfer-config",
        #"{"kv_connector":"PdConnector","kv_role":"kv_both","kv_connector_extra_config":{"connectors":["# + kvbm
            + #",{"kv_connector":"NixlConnector","kv_role":"kv_both"}]},"#
            + #""kv_connector_module_path":"kvbm.vllm_integration.connector"}"#,
    ]
    private static let decode = ["--disaggregation-mode", "decode"] + nixl + ["--enforce-eager"]
    private static let prefill = ["--disaggregation-mode", "prefill"] + both + ["--enforce-eager"]

    private static func leader(_ pub: Int, _ ack: Int, gigabytes: Int) -> [String: String] {
        [
            "DYN_KVBM_CPU_CACHE_GB": "\(gigabytes)", "DYN_KVBM_LEADER_ZMQ_PUB_PORT": "\(pub)",
            "DYN_KVBM_LEADER_ZMQ_ACK_PORT": "\(ack)",
        ]
    }

    private static func cached(_ index: Int) -> Process {
        vllm(
            "worker-\(index)",
            ["--kv-transfer-config", kvbm, "--gpu-memory-utilization", "0.4", "--enforce-eager"]
                + events(20080 + index),
            environment: leader(56001 + 2 * index, 56002 + 2 * index, gigabytes: 2),
            gpu: index,
            nixl: 20096 + index,
            kv: 20080 + index
        )
    }

    static let vllmKVBM: [Self] =
        [
            Self(
                manifest: "agg_kvbm",
                script: vllmFolder + "agg_kvbm.sh",
                processes: [frontend, vllm("worker", ["--kv-transfer-config", kvbm, "--enforce-eager"])]
            ),
            Self(
                manifest: "agg_kvbm_router",
                script: vllmFolder + "agg_kvbm_router.sh",
                environment: hashSeed,
                processes: [kvFrontend, cached(0), cached(1)]
            ),
            Self(
                manifest: "disagg_kvbm",
                script: vllmFolder + "disagg_kvbm.sh",
                processes: [
                    frontend,
                    vllm("decode", decode, gpu: 0),
                    vllm(
                        "prefill",
                        prefill + events(20081),
                        environment: ["DYN_KVBM_CPU_CACHE_GB": "20"],
                        gpu: 1,
                        nixl: 20097,
                        kv: 20081
                    ),
                ]
            ),
            Self(
                manifest: "disagg_kvbm_2p2d",
                script: vllmFolder + "disagg_kvbm_2p2d.sh and disagg_kvbm_router.sh",
                environment: hashSeed,
                processes: [kvFrontend]
                    + (0..<2).map { index in
                        vllm(
                            "decode-\(index)",
                            decode + events(20080 + index),
                            gpu: index,
                            nixl: 20096 + index,
                            kv: 20080 + index
                        )
                    }
                    + (0..<2).map { index in
                        vllm(
                            "prefill-\(index)",
                            prefill + events(20082 + index),
                            environment: leader(56001 + 2 * index, 56002 + 2 * index, gigabytes: 20),
                            gpu: 2 + index,
                            nixl: 20098 + index,
                            kv: 20082 + index
                        )
                    }
            ),
        ]
        + [("cuda", []), ("xpu", ["--block-size", "64"])].map { device, block in
            Self(
                manifest: "agg_lmcache",
                script: vllmFolder + "agg_lmcache.sh",
                shell: device == "cuda" ? [:] : ["DYN_DEVICE": device],
                unset: ["PROMETHEUS_MULTIPROC_DIR"],
                processes: [
                    frontend,
                    vllm(
                        "worker",
                        block + [
                            "--kv-transfer-config",
                            #"{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both","kv_buffer_device":"\#(device)"}"#,
                        ],
                        system: 8081
                    ),
                ]
            )
        }

    // MARK: SGLang

    private static let sglangFolder = "examples/backends/sglang/launch/"
    private static let traced = [
        "DYN_LOGGING_JSONL": "true", "OTEL_EXPORT_ENABLED": "1",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4317",
    ]
    private static let tracedFrontend = Process(
        name: "frontend",
        module: "dynamo.frontend",
        environment: ["OTEL_SERVICE_NAME": "dynamo-frontend"]
    )
    private static let halfOfTheDevice = [
        "--mem-fraction-static", "0.45", "--chunked-prefill-size", "4096", "--max-prefill-tokens", "4096",
        "--enable-memory-saver", "--delete-ckpt-after-loading", "--max-running-requests", "2",
    ]

    private static func sglang(
        _ name: String,
        page: Int = 16,
        _ arguments: [String],
        environment: [String: String] = [:],
        gpu: Int? = nil,
        system: Int,
        kv: Int? = nil
    ) -> Process {
        Process(
            name: name,
            module: "dynamo.sglang",
            arguments: [
                "--model-path", "Qwen/Qwen3-0.6B", "--served-model-name", "Qwen/Qwen3-0.6B", "--page-size", "\(page)",
                "--tp", "1", "--trust-remote-code",
            ] + arguments,
            environment: environment,
            gpus: gpu.map(String.init),
            system: system,
            kv: kv
        )
    }

    private static func published(_ port: Int) -> [String] {
        [
            "--kv-events-config", #"{"publisher":"zmq","topic":"kv-events","endpoint":"tcp://*:\#(port)"}"#,
            "--enable-metrics",
        ]
    }

    /// SGLang's two kinds of workers find each other at a bootstrap port of the first.
    private static func mode(_ mode: String, bootstrap: Int = 12345) -> [String] {
        [
            "--disaggregation-mode", mode, "--disaggregation-bootstrap-port", "\(bootstrap)", "--host", "0.0.0.0",
            "--disaggregation-transfer-backend", "nixl",
        ]
    }

    static let sglang: [Self] = [
        Self(
            manifest: "sglang/agg",
            script: sglangFolder + "agg.sh",
            processes: [frontend, sglang("worker", ["--skip-tokenizer-init", "--enable-metrics"], system: 8081)]
        ),
        Self(
            manifest: "sglang/agg_otel",
            script: sglangFolder + "agg.sh --enable-otel",
            environment: traced,
            processes: [
                tracedFrontend,
                sglang(
                    "worker",
                    [
                        "--skip-tokenizer-init", "--enable-metrics", "--enable-trace", "--otlp-traces-endpoint",
                        "localhost:4317",
                    ],
                    environment: ["OTEL_SERVICE_NAME": "dynamo-worker"],
                    system: 8081
                ),
            ]
        ),
        Self(
            manifest: "sglang/agg_router",
            script: sglangFolder + "agg_router.sh",
            processes: [
                kvFrontend,
                sglang("worker-0", published(5557), gpu: 0, system: 8081, kv: 5557),
                sglang("worker-1", published(5558), gpu: 1, system: 8082, kv: 5558),
            ]
        ),
        Self(
            manifest: "sglang/disagg",
            script: sglangFolder + "disagg.sh",
            processes: [
                frontend,
                sglang("prefill", mode("prefill") + ["--enable-metrics"], gpu: 0, system: 8081),
                sglang("decode", mode("decode") + ["--enable-metrics"], gpu: 1, system: 8082),
            ]
        ),
        Self(
            manifest: "sglang/disagg_router",
            script: sglangFolder + "disagg_router.sh",
            // Ports of prefill workers are leased, after the frontend's.
            processes: [
                kvFrontend,
                sglang(
                    "prefill-0",
                    page: 64,
                    mode("prefill", bootstrap: 20001) + published(5557),
                    gpu: 0,
                    system: 8081,
                    kv: 5557
                ),
                sglang(
                    "prefill-1",
                    page: 64,
                    mode("prefill", bootstrap: 20002) + published(5558),
                    gpu: 1,
                    system: 8082,
                    kv: 5558
                ),
                sglang("decode-0", page: 64, mode("decode") + published(5560), gpu: 3, system: 8083, kv: 5560),
                sglang("decode-1", page: 64, mode("decode") + published(5559), gpu: 2, system: 8084, kv: 5559),
            ]
        ),
        Self(
            manifest: "sglang/disagg_same_gpu",
            script: sglangFolder + "disagg_same_gpu.sh",
            environment: hashSeed,
            processes: [
                kvFrontend,
                sglang("prefill", mode("prefill") + halfOfTheDevice + ["--enable-metrics"], gpu: 0, system: 8081),
                sglang("decode", mode("decode") + halfOfTheDevice + ["--enable-metrics"], gpu: 0, system: 8082),
            ],
            waits: ["decode": "prefill: health"]
        ),
    ]

    // MARK: TensorRT-LLM

    private static let trtllmFolder = "examples/backends/trtllm/launch/"
    private static let shutdown = ["DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT": "60"]
    private static let performance = [
        "--override-engine-args", #"{"return_perf_metrics":true,"otlp_traces_endpoint":"http://localhost:4317"}"#,
    ]

    /// The mode stands before the modality in some manifests, after it in others: both are the same to the worker.
    private static func trtllm(
        _ name: String,
        engine: String,
        folder: String = "examples/backends",
        _ arguments: [String],
        environment: [String: String] = [:],
        gpu: Int? = nil,
        system: Int? = nil
    ) -> Process {
        Process(
            name: name,
            module: "dynamo.trtllm",
            arguments: [
                "--model-path", "/models/tiny", "--served-model-name", "Qwen/Qwen3-0.6B", "--extra-engine-args",
                "/workspace/\(folder)/trtllm/engine_configs/qwen3/\(engine).yaml",
            ] + arguments,
            environment: environment,
            gpus: gpu.map(String.init),
            system: system
        )
    }

    private static let text = ["--modality", "text"]
    private static let publishing = ["--publish-events-and-metrics"]

    private static func only(_ mode: String) -> [String] { ["--disaggregation-mode", mode] }

    static let trtllm: [Self] = [
        Self(
            manifest: "trtllm/agg",
            script: trtllmFolder + "agg.sh",
            processes: [frontend, trtllm("worker", engine: "agg", text)]
        ),
        Self(
            manifest: "trtllm/agg_metrics",
            script: trtllmFolder + "agg_metrics.sh",
            processes: [frontend, trtllm("worker", engine: "agg", text + publishing, system: 8081)]
        ),
        Self(
            manifest: "trtllm/agg_router",
            script: trtllmFolder + "agg_router.sh",
            processes: [kvFrontend, trtllm("worker", engine: "agg", text + publishing, gpu: 0)]
        ),
        Self(
            manifest: "trtllm/disagg",
            script: trtllmFolder + "disagg.sh",
            processes: [
                frontend,
                trtllm("prefill", engine: "prefill", only("prefill") + text, environment: shutdown, gpu: 0),
                trtllm("decode", engine: "decode", only("decode") + text, gpu: 1),
            ]
        ),
        Self(
            manifest: "trtllm/disagg_otel",
            script: trtllmFolder + "disagg.sh --enable-otel",
            environment: traced,
            processes: [
                tracedFrontend,
                trtllm(
                    "prefill",
                    engine: "prefill",
                    text + only("prefill") + performance,
                    environment: shutdown.merging(["OTEL_SERVICE_NAME": "dynamo-worker-prefill"]) { $1 },
                    gpu: 0
                ),
                trtllm(
                    "decode",
                    engine: "decode",
                    text + only("decode") + performance,
                    environment: ["OTEL_SERVICE_NAME": "dynamo-worker-decode"],
                    gpu: 1
                ),
            ]
        ),
        Self(
            manifest: "trtllm/disagg_router",
            script: trtllmFolder + "disagg_router.sh",
            processes: [
                kvFrontend,
                trtllm(
                    "prefill",
                    engine: "prefill",
                    only("prefill") + text + publishing,
                    environment: shutdown,
                    gpu: 0
                ),
                trtllm("decode", engine: "decode", only("decode") + text, gpu: 1),
            ]
        ),
        Self(
            manifest: "trtllm/disagg_same_gpu",
            script: trtllmFolder + "disagg_same_gpu.sh",
            processes: [
                frontend,
                trtllm(
                    "prefill",
                    engine: "prefill",
                    folder: "tests/serve",
                    text + publishing + only("prefill"),
                    gpu: 0,
                    system: 8081
                ),
                trtllm(
                    "decode",
                    engine: "decode",
                    folder: "tests/serve",
                    text + publishing + only("decode"),
                    gpu: 0,
                    system: 8082
                ),
            ],
            waits: ["decode": "prefill: health"]
        ),
    ]

    // MARK: The mock engine

    static let mocker: [Self] = [[], ["--planner-profile-data", "/data/profile"]].map { profile in
        Self(
            manifest: "mocker/agg",
            script: "none; what examples/backends/mocker/deploy/agg.yaml of Dynamo starts in a cluster",
            shell: profile.last.map { ["PLANNER_PROFILE_DATA": $0] } ?? [:],
            environment: ["HF_HUB_OFFLINE": "1"],
            processes: [
                frontend,
                Process(
                    name: "worker",
                    module: "dynamo.mocker",
                    arguments: ["--model-path", "/models/tiny", "--speedup-ratio", "1.0"] + profile
                ),
            ]
        )
    }
}
