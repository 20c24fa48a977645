import Discovery

/// A model in Hugging Face's form whose tokens are bytes: a byte-level BPE without merges, with a chat template.
///
/// The id of a byte's token is the byte. Frontends and Python's `transformers` load it like any other model.
struct ByteLevelModel: Sendable {
    /// Tokens behind those of the bytes.
    enum Special: Int, CaseIterable {
        case start = 256
        case end
        case system
        case user
        case assistant
        case tool
        case unknown

        var text: String { "<|\(self)|>" }
    }

    /// How many tokens there are.
    static let vocabularySize = 256 + Special.allCases.count

    /// What a simulated engine answers with: lower-case letters, and spaces often enough for words.
    static let letters: [UInt32] =
        (UInt32(UInt8(ascii: "a"))...UInt32(UInt8(ascii: "z"))) + Array(repeating: UInt32(UInt8(ascii: " ")), count: 5)

    /// The most tokens that prompt and answer may have together.
    let contextLength: Int

    /// The files by name.
    var files: [(name: String, content: [UInt8])] {
        [
            ("config.json", self.config.bytes), ("tokenizer.json", Self.tokenizer.bytes),
            ("tokenizer_config.json", self.tokenizerConfig.bytes), ("generation_config.json", Self.generation.bytes),
        ]
    }

    /// Sizes mean nothing, but loaders want an architecture that they know.
    private var config: JSONValue {
        [
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": JSONValue(self.contextLength),
            "vocab_size": JSONValue(Self.vocabularySize),
            "bos_token_id": JSONValue(Special.start.rawValue),
            "eos_token_id": JSONValue(Special.end.rawValue),
            "torch_dtype": "bfloat16",
            "tie_word_embeddings": true,
        ]
    }

    private var tokenizerConfig: JSONValue {
        [
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": .string(Special.start.text),
            "eos_token": .string(Special.end.text),
            "unk_token": .string(Special.unknown.text),
            "model_max_length": JSONValue(self.contextLength),
            "clean_up_tokenization_spaces": false,
            "chat_template": .string(
                "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
                    + "{% if add_generation_prompt %}<|assistant|>{% endif %}"
            ),
        ]
    }

    private static var generation: JSONValue {
        ["bos_token_id": JSONValue(Special.start.rawValue), "eos_token_id": [JSONValue(Special.end.rawValue)]]
    }

    private static var tokenizer: JSONValue {
        let byteLevel: JSONValue = [
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
        ]
        return [
            "version": "1.0",
            "truncation": nil,
            "padding": nil,
            "added_tokens": .array(Special.allCases.map(self.added)),
            "normalizer": nil,
            "pre_tokenizer": byteLevel,
            "post_processor": nil,
            "decoder": byteLevel,
            "model": [
                "type": "BPE",
                "dropout": nil,
                "unk_token": nil,
                "continuing_subword_prefix": nil,
                "end_of_word_suffix": nil,
                "fuse_unk": false,
                "byte_fallback": false,
                "ignore_merges": false,
                "vocab": .object(self.vocabulary),
                "merges": [],
            ],
        ]
    }

    private static func added(_ token: Special) -> JSONValue {
        [
            "id": JSONValue(token.rawValue), "content": .string(token.text), "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true,
        ]
    }

    private static var vocabulary: JSONFields {
        JSONFields(
            Self.characters.enumerated().map { JSONFields.Member(String($1), JSONValue($0)) }
                + Special.allCases.map { JSONFields.Member($0.text, JSONValue($0.rawValue)) }
        )
    }

    /// The character that stands for each byte in byte-level vocabularies.
    ///
    /// Printable bytes of Latin-1 stand for themselves; the others take the characters from U+0100 on in their order.
    static let characters: [Character] = {
        let printable: [ClosedRange<UInt8>] = [0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF]
        var next: UInt16 = 0x100
        return (UInt8.min...UInt8.max).map { byte in
            if printable.contains(where: { $0.contains(byte) }) { return Character(Unicode.Scalar(byte)) }
            defer { next += 1 }
            return Unicode.Scalar(next).map(Character.init) ?? "\u{FFFD}"
        }
    }()
}
