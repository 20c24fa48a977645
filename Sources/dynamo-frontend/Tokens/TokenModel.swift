import Discovery
import FoundationEssentials
import Tokenization

/// A model whose workers take token ids: what turns text into them and back.
struct TokenModel: Sendable {
    /// Why a model's files cannot be used.
    struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
        var description: String
        /// Whether it may be another time.
        var isTransient = false
    }

    var name: String
    var tokenizer: Tokenizer
    /// The template for chats, and the one for chats with tools; nil: only completions are served.
    var templates: Templates?
    /// Why there is no template.
    var templateProblem: String?
    /// Tokens after which an answer is over.
    var endTokens: [UInt32]
    var contextLength: Int

    struct Templates: Hashable, Sendable {
        var plain: ChatTemplate
        var tools: ChatTemplate
        var startText: String?
        var endText: String?
        /// Whether the template wants the parts of a message, and not its text.
        var wantsParts: Bool
    }

    /// Reads the files that a card names.
    ///
    /// - Parameters:
    ///   - name: what clients use.
    ///   - card: of a worker that takes tokens.
    /// - Throws: what is wrong with a file, or not supported.
    init(_ name: String, _ card: ModelCard) async throws(Failure) {
        let files = CardFiles(card)
        self.name = name
        // Dynamo's mock engine says 0: it has no limit.
        self.contextLength = card.contextLength.flatMap { $0 > 0 ? $0 : nil } ?? .max
        do { self.tokenizer = try Tokenizer(parsing: try await files.content(of: "tokenizer")) } catch let error
            as TokenizationError
        {
            throw Failure(description: error.description)
        } catch let error as Failure {
            throw error
        } catch {
            throw Failure(description: "\(error)")
        }
        let configuration = try await files.json("prompt_formatter")
        self.endTokens = Self.ids(try await files.json("gen_config")?["eos_token_id"])
        if self.endTokens.isEmpty { self.endTokens = Self.ids(try await files.json("model_info")?["eos_token_id"]) }
        let endText = Self.tokenText(configuration?["eos_token"])
        if self.endTokens.isEmpty, let id = endText.flatMap(self.tokenizer.id) { self.endTokens = [id] }
        do {
            let own = try await files.text("chat_template_file")
            self.templates = try Self.templates(configuration, own: own, end: endText)
        } catch let error as TokenizationError {
            self.templateProblem = error.description
        } catch let error as Failure {
            throw error
        } catch {
            throw Failure(description: "\(error)")
        }
    }

    private static func ids(_ value: JSONValue?) -> [UInt32] {
        (value?.array ?? value.map { [$0] } ?? []).compactMap { $0.uint64.flatMap { UInt32(exactly: $0) } }
    }

    /// Special tokens stand in the configuration as text, or as an object with it.
    private static func tokenText(_ value: JSONValue?) -> String? { value?.string ?? value?["content"]?.string }

    private static func templates(
        _ configuration: JSONValue?,
        own: String?,
        end: String?
    ) throws(TokenizationError) -> Templates {
        var texts: [String: String] = [:]
        if let own {
            texts["default"] = own
        } else if let text = configuration?["chat_template"]?.string {
            texts["default"] = text
        } else {
            for item in configuration?["chat_template"]?.array ?? [] {
                if let name = item["name"]?.string { texts[name] = item["template"]?.string }
            }
        }
        guard let plain = texts["default"] ?? texts["tool_use"] else {
            throw TokenizationError("the model has no chat template")
        }
        let template = try ChatTemplate(plain)
        var templates = Templates(
            plain: template,
            tools: try texts["tool_use"].map { (text) throws(TokenizationError) in try ChatTemplate(text) } ?? template,
            startText: self.tokenText(configuration?["bos_token"]),
            endText: end,
            wantsParts: false
        )
        templates.wantsParts = Self.wantsParts(templates)
        return templates
    }

    /// Finds out by trying: a template that looks at parts leaves a plain text out.
    private static func wantsParts(_ templates: Templates) -> Bool {
        let mark = "dl7f3c"
        func shows(_ content: JSONValue) -> Bool {
            let variables: JSONFields = [
                "messages": [["role": "user", "content": content]], "tools": nil, "documents": nil,
                "add_generation_prompt": true, "bos_token": .string(templates.startText ?? ""),
                "eos_token": .string(templates.endText ?? ""),
            ]
            return (try? templates.plain.render(variables))?.contains(mark) ?? false
        }
        return !shows(.string(mark)) && shows([["type": "text", "text": .string(mark)]])
    }
}

/// The files of a card: each with a path, and a checksum that must be its content's.
private struct CardFiles {
    private let card: ModelCard

    init(_ card: ModelCard) { self.card = card }

    /// The file's content.
    ///
    /// - Parameter part: the card's member that names it.
    /// - Returns: its bytes.
    /// - Throws: when there is none, when it cannot be read, or when it is another than the worker has.
    func content(of part: String) async throws(TokenModel.Failure) -> [UInt8] {
        guard let content = try await self.optional(part) else {
            throw TokenModel.Failure(description: "the model's card names no file for `\(part)`")
        }
        return content
    }

    func json(_ part: String) async throws(TokenModel.Failure) -> JSONValue? {
        guard let content = try await self.optional(part) else { return nil }
        do { return try JSONValue(parsing: content) } catch {
            throw TokenModel.Failure(description: "the file that the card names for `\(part)` is no JSON: \(error)")
        }
    }

    func text(_ part: String) async throws(TokenModel.Failure) -> String? {
        guard let content = try await self.optional(part) else { return nil }
        let text = String(decoding: content, as: UTF8.self)
        // The oldest form of the file is JSON.
        guard let json = try? JSONValue(parsing: content), let inner = json["chat_template"]?.string else {
            return text
        }
        return inner
    }

    private func optional(_ part: String) async throws(TokenModel.Failure) -> [UInt8]? {
        guard let value = self.card.fields[part], !value.isNull else { return nil }
        guard let file = Self.file(value) else {
            throw TokenModel.Failure(
                description: "the card's `\(part)` is \(value.text), which names no file; "
                    + "this frontend reads models in Hugging Face's form"
            )
        }
        guard let path = file["path"]?.string else { return nil }
        guard !path.hasPrefix("hf://") else {
            throw TokenModel.Failure(
                description: "the card's `\(part)` is at \(path), which this frontend does not download; "
                    + "start the worker with a folder that both can read"
            )
        }
        let content = try await Self.content(at: path, part)
        if let checksum = file["checksum"]?.string {
            let prefix = "blake3:"
            guard checksum.hasPrefix(prefix) else {
                throw TokenModel.Failure(
                    description: "the checksum \(checksum) of the card's `\(part)` is no blake3 one"
                )
            }
            guard checksum.dropFirst(prefix.count) == BLAKE3.hex(content) else {
                throw TokenModel.Failure(
                    description: "\(path) of the card's `\(part)` has another content than on the worker's machine"
                )
            }
        }
        return content
    }

    private static func content(at path: String, _ part: String) async throws(TokenModel.Failure) -> [UInt8] {
        if RemoteModelFile.isURL(path) {
            do { return try await RemoteModelFile.content(of: path) } catch {
                throw TokenModel.Failure(
                    description:
                        "\(path) of the card's `\(part)` cannot be fetched from the worker (\(error)); it is tried again",
                    isTransient: true
                )
            }
        }
        let local = path.hasPrefix("file://") ? String(path.dropFirst("file://".count)) : path
        do { return [UInt8](try Data(contentsOf: URL(filePath: local))) } catch {
            throw TokenModel.Failure(
                description: "\(local) of the card's `\(part)` cannot be read (\(error)); "
                    + "the worker's model folder must be at the same path here"
            )
        }
    }

    /// The object with the path, which the artifact's kind is wrapped around.
    private static func file(_ value: JSONValue) -> JSONValue? {
        if value["path"] != nil { return value }
        for member in value.object?.members ?? [] { if let file = self.file(member.value) { return file } }
        return nil
    }
}
