extension ModelCard {
    /// A file that a frontend needs to turn text into tokens, as a card names it.
    package struct File: Sendable, Hashable {
        /// Absolute, on the frontend's machine.
        package var path: String
        /// 64 hexadecimal digits of the content's BLAKE3 hash; frontends check it.
        package var hash: String
        /// Bytes of the content.
        package var size: Int

        package init(path: String, content: [UInt8]) {
            self.path = path
            self.hash = BLAKE3.hex(content)
            self.size = content.count
        }

        fileprivate var value: JSONValue {
            ["path": .string(self.path), "checksum": .string("blake3:\(self.hash)"), "size": JSONValue(self.size)]
        }
    }

    /// The files of a model in Hugging Face's form.
    package struct Files: Sendable, Hashable {
        /// `config.json`.
        package var config: File
        /// `tokenizer.json`.
        package var tokenizer: File
        /// `tokenizer_config.json`, with the chat template.
        package var tokenizerConfig: File
        /// `generation_config.json`; without it the end tokens come from `config.json`.
        package var generationConfig: File?

        package init(config: File, tokenizer: File, tokenizerConfig: File, generationConfig: File?) {
            self.config = config
            self.tokenizer = tokenizer
            self.tokenizerConfig = tokenizerConfig
            self.generationConfig = generationConfig
        }
    }

    /// What routers want to know about the engine.
    package struct Runtime: Sendable, Hashable {
        /// Tokens of a block of the KV cache.
        package var blockSize: Int
        /// Blocks of the KV cache.
        package var totalBlocks: Int
        /// The most requests that run at once.
        package var maxSequences: Int
        /// The most tokens of a step.
        package var maxBatchedTokens: Int
        /// Whether the worker answers what a router missed.
        package var hasLocalIndexer = false

        package init(blockSize: Int, totalBlocks: Int, maxSequences: Int, maxBatchedTokens: Int) {
            self.blockSize = blockSize
            self.totalBlocks = totalBlocks
            self.maxSequences = maxSequences
            self.maxBatchedTokens = maxBatchedTokens
        }
    }

    /// The card of a worker that takes tokens, in the form of Dynamo 1.2.1 with the two fields that 1.6 adds.
    ///
    /// - Parameters:
    ///   - name: what clients use.
    ///   - kind: what the model can do.
    ///   - part: what of the work the worker does: `aggregated`, `prefill` or `decode`.
    ///   - contextLength: the most tokens that prompt and answer may have together.
    ///   - files: where frontends find the tokenizer.
    ///   - runtime: what routers want to know.
    /// - Returns: a card that all supported releases accept.
    package static func tokens(
        name: String,
        kind: Kind,
        part: String = "aggregated",
        contextLength: Int,
        files: Files,
        runtime: Runtime
    ) -> ModelCard {
        var fields: JSONFields = [
            "display_name": .string(name),
            "slug": .string(Self.slug(of: name)),
            "model_info": ["hf_config_json": files.config.value],
            "tokenizer": ["hf_tokenizer_json": files.tokenizer.value],
            "prompt_formatter": ["hf_tokenizer_config_json": files.tokenizerConfig.value],
        ]
        if let file = files.generationConfig { fields["gen_config"] = ["hf_generation_config_json": file.value] }
        fields.append("context_length", JSONValue(contextLength))
        fields.append("kv_cache_block_size", JSONValue(runtime.blockSize))
        fields.append("migration_limit", 0)
        fields.append("model_type", .string(kind.text))
        fields.append("model_input", .string(Input.tokens.rawValue))
        fields.append(
            "runtime_config",
            [
                "total_kv_blocks": JSONValue(runtime.totalBlocks),
                "max_num_seqs": JSONValue(runtime.maxSequences),
                "max_num_batched_tokens": JSONValue(runtime.maxBatchedTokens),
                "data_parallel_start_rank": 0,
                "data_parallel_size": 1,
                "enable_local_indexer": .bool(runtime.hasLocalIndexer),
            ]
        )
        fields.append("worker_type", .string(part))
        // A part is of no use without the other (observed of 1.6.1).
        fields.append("needs", part == "prefill" ? [["decode"]] : part == "decode" ? [["prefill"]] : [])
        return ModelCard(fields: fields)
    }
}
