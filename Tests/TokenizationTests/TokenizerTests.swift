import Discovery
import Testing
import Tokenization

@Suite("Tokenizers")
struct TokenizerTests {
    /// A byte-level BPE of all bytes, two merges and a special token.
    static func json(_ changes: [(String, JSONValue?)] = [], model: [(String, JSONValue?)] = []) -> [UInt8] {
        let printable: [ClosedRange<Int>] = [0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF]
        var next = 0x100
        var vocabulary = JSONFields()
        for byte in 0..<256 {
            let isPrintable = printable.contains { $0.contains(byte) }
            let value = isPrintable ? byte : next
            if !isPrintable { next += 1 }
            vocabulary.append(Unicode.Scalar(UInt32(value)).map(String.init) ?? "", JSONValue(byte))
        }
        vocabulary.append("ab", 256)
        vocabulary.append("abc", 257)
        var inner: JSONFields = ["type": "BPE", "vocab": .object(vocabulary), "merges": ["a b", ["ab", "c"]]]
        for (name, value) in model { inner[name] = value }
        var fields: JSONFields = [
            "added_tokens": [["id": 258, "content": "<|end|>", "special": true]],
            "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false],
            "decoder": ["type": "ByteLevel"], "model": .object(inner),
        ]
        for (name, value) in changes { fields[name] = value }
        return JSONValue.object(fields).bytes
    }

    @Test("merges are made in their order, special tokens are found, and unknown ids leave no text")
    func small() throws {
        let tokenizer = try Tokenizer(parsing: Self.json())
        #expect(tokenizer.encode("abcab<|end|>c") == [257, 256, 258, 99])
        #expect(tokenizer.decode([257, 258, 99, 70_000]) == "abcc")
        #expect(tokenizer.decode([257, 258, 99], skipsSpecialTokens: false) == "abc<|end|>c")
        #expect(tokenizer.id(of: "<|end|>") == 258)
        #expect(tokenizer.id(of: "nothing") == nil)
    }

    @Test("a streamed character is given out when it is whole, and one that never is at the end")
    func wholeCharacters() throws {
        let tokenizer = try Tokenizer(parsing: Self.json())
        var detokenizer = Detokenizer(tokenizer, skipsSpecialTokens: true)
        let emoji = Array("😀".utf8).map(UInt32.init)
        #expect(emoji.map { detokenizer.append([$0]) } == ["", "", "", "😀"])
        #expect(detokenizer.append([0xE2, 0x82]) == "")
        #expect(detokenizer.append([0x41]) == "\u{FFFD}A")
        #expect(detokenizer.append([0xC0]) == "\u{FFFD}")
        #expect(detokenizer.append([0xE2]) == "")
        #expect(detokenizer.finish() == "\u{FFFD}")
        #expect(detokenizer.finish() == "")
    }

    @Test("half a surrogate pair in a tokenizer's file is an error with its place")
    func surrogates() {
        let error = #expect(throws: TokenizationError.self) { try Tokenizer(parsing: [UInt8](#"{"a":"\ud83d"}"#.utf8)) }
        #expect(error?.description.contains("lone surrogate in a string at line 1") == true)
    }

    @Test("a word of hundreds of kilobytes takes no time to speak of")
    func longWord() throws {
        let tokenizer = try Tokenizer(parsing: Self.json())
        let clock = ContinuousClock()
        let time = clock.measure {
            #expect(tokenizer.encode(String(repeating: "abc", count: 100_000)).count == 100_000)
            #expect(tokenizer.encode(String(repeating: " ", count: 300_000)).count == 300_000)
        }
        #expect(time < .seconds(30))
    }

    @Test(
        "what is not supported is named",
        arguments: [
            (Self.json(model: [("type", "WordPiece")]), "model is 'WordPiece'"),
            (Self.json(model: [("type", "Unigram")]), "model is 'Unigram'"),
            (Self.json(model: [("byte_fallback", true)]), "model.byte_fallback is on"),
            (Self.json(model: [("continuing_subword_prefix", "##")]), "model.continuing_subword_prefix is '##'"),
            (Self.json(model: [("merges", ["a b c"])]), "model.merges[0] must be two tokens"),
            (Self.json(model: [("merges", ["a z"])]), "model.merges[0] must be two tokens"),
            (Self.json(model: [("vocab", ["a": -1])]), "model.vocab must be ids"),
            (Self.json([("normalizer", ["type": "Lowercase"])]), "normalizer is 'Lowercase'"),
            (Self.json([("pre_tokenizer", ["type": "Metaspace"])]), "pre_tokenizer is 'Metaspace'"),
            (Self.json([("pre_tokenizer", nil)]), "pre_tokenizer is none"),
            (Self.json([("decoder", ["type": "WordPiece"])]), "decoder is 'WordPiece'"),
            (Self.json([("post_processor", ["type": "BertProcessing"])]), "post_processor is 'BertProcessing'"),
            (Self.json([("truncation", ["max_length": 5])]), "truncation is an object"),
            (Self.split(#"(?<=a)b"#), "has a group '(?…' at character 2"),
            (Self.split(#"\w+"#), #"has the escape '\w' at character 3"#),
            (Self.split(#"\p{Greek}+"#), "has the property 'Greek'"),
            (Self.split("a+?"), "has a reluctant repetition"),
            (Self.split("(a|b)*"), "has a repeated group"),
            (Self.split("^a"), "has an anchor '^'"),
            (Self.split("[a"), "has a class without end"),
            ([UInt8]("{".utf8), "the tokenizer is no JSON"),
        ]
    )
    func unsupported(json: [UInt8], message: String) {
        let error = #expect(throws: TokenizationError.self) { try Tokenizer(parsing: json) }
        #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
    }

    private static func split(_ pattern: String) -> [UInt8] {
        let split: JSONValue = ["type": "Split", "pattern": ["Regex": .string(pattern)], "behavior": "Isolated"]
        let byteLevel: JSONValue = ["type": "ByteLevel", "use_regex": false]
        return self.json([("pre_tokenizer", ["type": "Sequence", "pretokenizers": [split, byteLevel]])])
    }
}
