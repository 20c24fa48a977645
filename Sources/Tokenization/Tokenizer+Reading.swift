import Discovery

extension Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// - Parameter content: of the file.
    /// - Throws: an error that names what is wrong, or what is not supported.
    package convenience init(parsing content: [UInt8]) throws(TokenizationError) {
        let json: JSONValue
        do { json = try JSONValue(parsing: content) } catch {
            throw TokenizationError("the tokenizer is no JSON: \(error)")
        }
        let reader = TokenizerReader(json: json)
        for name in ["truncation", "padding"] {
            if let value = json[name], !value.isNull { throw TokenizerReader.unsupported(name, value.kind) }
        }
        let (model, texts) = try reader.model()
        try reader.checkDecoder()
        self.init(
            normalizers: try reader.normalizers(json["normalizer"]),
            model: model,
            preTokenizer: try reader.preTokenizer(),
            added: try reader.addedTokens(),
            frame: try reader.frame(json["post_processor"]) ?? [.text],
            texts: texts
        )
    }
}

/// Looks through a `tokenizer.json`, part by part.
private struct TokenizerReader {
    let json: JSONValue

    static func unsupported(_ part: String, _ what: String) -> TokenizationError {
        TokenizationError("the tokenizer's \(part) is \(what), which is not supported here")
    }

    private static func wrong(_ part: String, _ expected: String) -> TokenizationError {
        TokenizationError("the tokenizer's \(part) must be \(expected)")
    }

    private static func type(of value: JSONValue) -> String { value["type"]?.string ?? "without a type" }

    // MARK: Model

    func model() throws(TokenizationError) -> (BytePairModel, [(text: String, id: UInt32)]) {
        guard let model = self.json["model"] else { throw Self.wrong("model", "there") }
        // Old files leave the type of the oldest kind out.
        let type = model["type"]?.string ?? (model["merges"] == nil ? "without a type" : "BPE")
        guard type == "BPE" else { throw Self.unsupported("model", "'\(type)' (only byte-level BPE is)") }
        for name in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if let text = model[name]?.string, !text.isEmpty { throw Self.unsupported("model.\(name)", "'\(text)'") }
        }
        if let rate = model["dropout"]?.double, rate > 0 { throw Self.unsupported("model.dropout", "\(rate)") }
        if model["byte_fallback"]?.bool == true {
            throw Self.unsupported("model.byte_fallback", "on (SentencePiece's way)")
        }

        guard let members = model["vocab"]?.object?.members else { throw Self.wrong("model.vocab", "an object") }
        var vocabulary: [[UInt8]: UInt32] = [:]
        vocabulary.reserveCapacity(members.count)
        var ids: [[UInt8]: UInt32] = [:]
        ids.reserveCapacity(members.count)
        var texts: [(String, UInt32)] = []
        texts.reserveCapacity(members.count)
        for member in members {
            let id = try Self.id(member.value, "model.vocab")
            ids[Array(member.name.utf8)] = id
            if let bytes = ByteAlphabet.bytes(of: member.name) { vocabulary[bytes] = id }
            texts.append((member.name, id))
        }
        let merges = try self.merges(model, ids)
        let unknown = model["unk_token"]?.string.flatMap { ids[Array($0.utf8)] }
        return (
            BytePairModel(
                vocabulary: vocabulary,
                merges: merges,
                unknown: unknown,
                fusesUnknown: model["fuse_unk"]?.bool ?? false,
                ignoresMerges: model["ignore_merges"]?.bool ?? false
            ), texts
        )
    }

    private func merges(
        _ model: JSONValue,
        _ ids: [[UInt8]: UInt32]
    ) throws(TokenizationError) -> [UInt64: BytePairModel.Merge] {
        guard let list = model["merges"]?.array else { throw Self.wrong("model.merges", "a list") }
        var merges: [UInt64: BytePairModel.Merge] = [:]
        merges.reserveCapacity(list.count)
        for (rank, value) in list.enumerated() {
            let sides: [[UInt8]]
            if let text = value.string {
                sides = text.utf8.split(separator: 0x20, omittingEmptySubsequences: false).map { Array($0) }
            } else {
                sides = (value.array ?? []).compactMap { $0.string.map { Array($0.utf8) } }
            }
            guard sides.count == 2, let left = ids[sides[0]], let right = ids[sides[1]],
                let result = ids[sides[0] + sides[1]]
            else { throw Self.wrong("model.merges[\(rank)]", "two tokens of the vocabulary that make a third") }
            let pair = BytePairModel.pair(left, right)
            merges[pair] = BytePairModel.Merge(rank: UInt32(rank), result: result)
        }
        return merges
    }

    private static func id(_ value: JSONValue?, _ part: String) throws(TokenizationError) -> UInt32 {
        // An id is an index; a table for a larger one would be the file's way to take all memory.
        guard let id = value?.uint64, id < 1 << 24 else { throw self.wrong(part, "ids from 0 to \((1 << 24) - 1)") }
        return UInt32(id)
    }

    func addedTokens() throws(TokenizationError) -> [AddedTokens.Token] {
        var tokens: [AddedTokens.Token] = []
        for value in self.json["added_tokens"]?.array ?? [] {
            guard let content = value["content"]?.string else {
                throw Self.wrong("added_tokens", "objects with `content`")
            }
            tokens.append(
                AddedTokens.Token(
                    id: try Self.id(value["id"], "added_tokens"),
                    content: content,
                    isSingleWord: value["single_word"]?.bool ?? false,
                    stripsLeft: value["lstrip"]?.bool ?? false,
                    stripsRight: value["rstrip"]?.bool ?? false,
                    isNormalized: value["normalized"]?.bool ?? false,
                    isSpecial: value["special"]?.bool ?? false
                )
            )
        }
        return tokens
    }

    // MARK: Around the model

    func normalizers(_ value: JSONValue?) throws(TokenizationError) -> [Tokenizer.Normalizer] {
        guard let value, !value.isNull else { return [] }
        switch Self.type(of: value) {
        case "NFC": return [.composed]
        case "NFD": return [.decomposed]
        case "Sequence":
            var all: [Tokenizer.Normalizer] = []
            for part in value["normalizers"]?.array ?? [] { all += try self.normalizers(part) }
            return all
        case let type: throw Self.unsupported("normalizer", "'\(type)'")
        }
    }

    func preTokenizer() throws(TokenizationError) -> PreTokenizer {
        guard let value = self.json["pre_tokenizer"], !value.isNull else {
            throw Self.unsupported("pre_tokenizer", "none (only those with ByteLevel are)")
        }
        let parts = Self.type(of: value) == "Sequence" ? value["pretokenizers"]?.array ?? [] : [value]
        guard let last = parts.last, Self.type(of: last) == "ByteLevel" else {
            throw Self.unsupported(
                "pre_tokenizer",
                "'\(parts.last.map(Self.type) ?? "empty")' at its end, not ByteLevel"
            )
        }
        var steps: [PreTokenizer.Step] = []
        for (index, part) in parts.enumerated() { steps += try self.steps(part, isLast: index == parts.count - 1) }
        return PreTokenizer(steps: steps)
    }

    private func steps(_ part: JSONValue, isLast: Bool) throws(TokenizationError) -> [PreTokenizer.Step] {
        switch Self.type(of: part) {
        case "ByteLevel" where isLast:
            var steps: [PreTokenizer.Step] = []
            if part["add_prefix_space"]?.bool ?? true { steps.append(.prefixSpace) }
            if part["use_regex"]?.bool ?? true {
                steps.append(.split(try Pattern(PreTokenizer.byteLevelPattern), keeps: .all))
            }
            return steps
        case "Digits": return [.digits(isEach: part["individual_digits"]?.bool ?? false)]
        case "Split":
            let pattern: Pattern
            if let text = part["pattern"]?["Regex"]?.string {
                pattern = try Pattern(text)
            } else if let text = part["pattern"]?["String"]?.string, !text.isEmpty {
                pattern = try Pattern(text.unicodeScalars.reduce(into: "") { $0 += Self.escaped($1) })
            } else {
                throw Self.wrong("pre_tokenizer.pattern", "an object with Regex or String")
            }
            let isInverted = part["invert"]?.bool ?? false
            switch part["behavior"]?.string {
            case "Isolated": return [.split(pattern, keeps: .all)]
            case "Removed": return [.split(pattern, keeps: isInverted ? .matches : .rest)]
            case let behavior: throw Self.unsupported("pre_tokenizer.behavior", "'\(behavior ?? "none")'")
            }
        case let type: throw Self.unsupported("pre_tokenizer", "'\(type)'")
        }
    }

    private static func escaped(_ scalar: Unicode.Scalar) -> String {
        scalar.properties.isAlphabetic || scalar.properties.numericType != nil ? String(scalar) : "\\\(scalar)"
    }

    func checkDecoder() throws(TokenizationError) {
        guard let value = self.json["decoder"], !value.isNull else { throw Self.unsupported("decoder", "none") }
        let parts = Self.type(of: value) == "Sequence" ? value["decoders"]?.array ?? [] : [value]
        guard parts.count == 1, let part = parts.first, Self.type(of: part) == "ByteLevel" else {
            throw Self.unsupported("decoder", "'\(Self.type(of: value))' (only ByteLevel is)")
        }
    }

    /// What stands around a text; nil when a part of a sequence adds nothing.
    func frame(_ value: JSONValue?) throws(TokenizationError) -> [Tokenizer.Frame]? {
        guard let value, !value.isNull else { return nil }
        switch Self.type(of: value) {
        case "ByteLevel": return nil
        case "Sequence":
            var frame: [Tokenizer.Frame]?
            for part in value["processors"]?.array ?? [] {
                guard let inner = try self.frame(part) else { continue }
                guard frame == nil else { throw Self.unsupported("post_processor", "two that add tokens") }
                frame = inner
            }
            return frame
        case "TemplateProcessing":
            var frame: [Tokenizer.Frame] = []
            for part in value["single"]?.array ?? [] {
                if let name = part["SpecialToken"]?["id"]?.string {
                    guard let ids = value["special_tokens"]?[name]?["ids"]?.array else {
                        throw Self.wrong("post_processor.special_tokens", "an object that has '\(name)'")
                    }
                    var tokens: [UInt32] = []
                    for id in ids { tokens.append(try Self.id(id, "post_processor")) }
                    frame.append(.tokens(tokens))
                } else if part["Sequence"]?["id"]?.string == "A" {
                    frame.append(.text)
                } else {
                    throw Self.wrong("post_processor.single", "made of SpecialToken and the Sequence A")
                }
            }
            return frame
        case let type: throw Self.unsupported("post_processor", "'\(type)'")
        }
    }
}
