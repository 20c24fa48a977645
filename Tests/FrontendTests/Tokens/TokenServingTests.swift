import Discovery
import Foundation
import KVRouter
import NIOCore
import RequestPlane
import Synchronization
import TestSupport
import Testing

@testable import dynamo_frontend

/// The whole frontend before scripted workers that take token ids; a token is a byte.
@Suite("Workers that take token ids")
struct TokenServingTests {
    private static let template =
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if messages|length > 2 %}{{ raise_exception('too long') }}{% endif %}"

    /// Writes a model, and gives a worker whose card names its files.
    private func worker(
        _ id: UInt64,
        _ directory: URL,
        template: String = Self.template,
        model: JSONValue? = nil,
        kind: ModelCard.Kind = [.chat, .completions],
        component: String = "backend",
        filesAt address: String? = nil
    ) throws -> (instance: InstanceRecord, model: ModelRecord) {
        let printable: [ClosedRange<Int>] = [0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF]
        var next = 0x100
        var vocabulary = JSONFields()
        for byte in 0..<256 {
            let isPrintable = printable.contains { $0.contains(byte) }
            let scalar = Unicode.Scalar(UInt32(isPrintable ? byte : next))
            if !isPrintable { next += 1 }
            vocabulary.append(scalar.map(String.init) ?? "", JSONValue(byte))
        }
        let tokenizer: JSONValue = [
            "added_tokens": [["id": 256, "content": "<end>", "special": true]],
            "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false, "use_regex": false],
            "decoder": ["type": "ByteLevel"],
            "model": model ?? ["type": "BPE", "vocab": .object(vocabulary), "merges": []],
        ]
        func file(_ name: String, _ json: JSONValue) throws -> ModelCard.File {
            let path = directory.appending(path: name)
            try Data(json.bytes).write(to: path)
            return ModelCard.File(path: address.map { "\($0)/\(name)" } ?? path.path, content: json.bytes)
        }
        let files = ModelCard.Files(
            config: try file("config.json", ["eos_token_id": 256]),
            tokenizer: try file("tokenizer.json", tokenizer),
            tokenizerConfig: try file("tokenizer_config.json", ["chat_template": .string(template)]),
            generationConfig: nil
        )
        var worker = FrontendFixture.worker(id, component: component, kind: kind)
        worker.model.card = .tokens(
            name: "m",
            kind: kind,
            contextLength: 200,
            files: files,
            runtime: .init(blockSize: 4, totalBlocks: 100, maxSequences: 8, maxBatchedTokens: 100)
        )
        return worker
    }

    private static func item(_ json: String) -> ScriptedClient.Step { .item(.data(ByteBuffer(string: json))) }

    private static func tokens(_ text: String, _ finish: String = "null") -> ScriptedClient.Step {
        self.item(#"{"token_ids":\#(Array(text.utf8)),"finish_reason":\#(finish)}"#)
    }

    private func post(
        _ frontend: RunningFrontend,
        _ body: String,
        _ path: String = "completions"
    ) async throws -> HTTPReply {
        try await HTTPRequests.post("\(frontend.url)/v1/\(path)", json: #"{"model":"m",\#(body)}"#)
    }

    @Test("a chat is templated and tokenized, and its answer is made of tokens")
    func chat() async throws {
        let client = ScriptedClient { _ in
            [Self.tokens("gr\u{fc}"), Self.item(#"{"token_ids":[195]}"#), Self.item(#"{"token_ids":[159,256,65]}"#)]
        }
        try await withTemporaryDirectory { directory in
            let worker = try self.worker(1, directory)
            try await RunningFrontend.run(client) { frontend in
                try await frontend.publish([worker])
                let messages = #""messages":[{"role":"user","content":"hi"}]"#
                let whole = try await self.post(frontend, messages, "chat/completions")
                #expect(whole.text.contains(#""content":"grüß""#), "\(whole.text)")
                #expect(whole.text.contains(#""finish_reason":"stop""#), "\(whole.text)")
                #expect(
                    whole.text.contains(#""prompt_tokens":8,"completion_tokens":7,"total_tokens":15"#),
                    "\(whole.text)"
                )
                let sent = client.sent.withLock { $0.last?.payload } ?? ""
                #expect(sent.contains("\"token_ids\":[91,117,115,101,114,93,104,105]"), "\(sent)")

                let streamed = try await self.post(frontend, messages + #","stream":true"#, "chat/completions")
                #expect(
                    streamed.text.contains(#""delta":{"content":"grü","role":"assistant"},"finish_reason":null"#),
                    "\(streamed.text)"
                )
                #expect(
                    streamed.text.contains(#""delta":{"content":"ß","role":"assistant"},"finish_reason":"stop""#),
                    "\(streamed.text)"
                )
                #expect(streamed.text.hasSuffix("data: [DONE]\n\n"))

                let raised = try await self.post(
                    frontend,
                    #""messages":[{"role":"user","content":"a"},{"role":"user","content":"a"},{"role":"user","content":"a"}]"#,
                    "chat/completions"
                )
                #expect(raised.status == 400)
                #expect(raised.text.contains("refuses the messages: too long"), "\(raised.text)")
            }
        }
    }

    @Test("who does not take a request may have a successor by then")
    func successor() async throws {
        let client = ScriptedClient { instance throws(RequestPlaneError) in
            guard instance.id.rawValue == 2 else { throw RequestPlaneError(.unavailable, "it has left") }
            return [Self.tokens("a", #""stop""#)]
        }
        try await withTemporaryDirectory { directory in
            let workers = try [self.worker(1, directory), self.worker(2, directory)]
            try await RunningFrontend.run(client) { frontend in
                try await frontend.publish([workers[0]])
                client.onTheWay.withLock {
                    $0 = { instance in
                        guard instance.id.rawValue == 1 else { return }
                        do { try await frontend.replace(with: workers[1]) } catch { Issue.record(error) }
                    }
                }
                let reply = try await self.post(frontend, #""prompt":"x""#)
                #expect(reply.status == 200, "\(reply.text)")
                #expect(client.sent.withLock { $0.map(\.instance) } == [1, 2])
            }
        }
    }

    @Test("what a worker reports in the midst, and one that says nothing, are errors")
    func failures() async throws {
        let answers = Recorded<[[ScriptedClient.Step]]>([
            [Self.item(#"{"token_ids":[65],"finish_reason":{"error":"out of memory"}}"#)], [Self.item("7")],
            [Self.item("null")],
        ])
        let client = ScriptedClient { _ in
            let first = answers.value.first ?? []
            answers.value = Array(answers.value.dropFirst())
            return first
        }
        try await withTemporaryDirectory { directory in
            let worker = try self.worker(1, directory)
            try await RunningFrontend.run(client) { frontend in
                try await frontend.publish([worker])
                for message in ["out of memory", "the worker sent a number", "the worker answered nothing"] {
                    let reply = try await self.post(frontend, #""prompt":"x""#)
                    #expect(reply.status >= 500)
                    #expect(reply.text.contains(message), "\(reply.text)")
                }
            }
        }
    }

    @Test("a template that is not supported leaves completions; a tokenizer that is not leaves nothing")
    func unsupported() async throws {
        let client = ScriptedClient { _ in [Self.tokens("a", #""length""#)] }
        try await withTemporaryDirectory { directory in
            let worker = try self.worker(1, directory, template: "{% include 'x' %}")
            try await RunningFrontend.run(client) { frontend in
                try await frontend.publish([worker])
                let chat = try await self.post(
                    frontend,
                    #""messages":[{"role":"user","content":"hi"}]"#,
                    "chat/completions"
                )
                #expect(chat.status == 400)
                #expect(chat.text.contains("the statement 'include', which is not supported at line 1"), "\(chat.text)")
                #expect(try await self.post(frontend, #""prompt":"x""#).status == 200)
            }
            await #expect(throws: TokenModel.Failure.self) {
                try await TokenModel("m", try self.worker(2, directory, model: ["type": "Unigram"]).model.card)
            }
            var other = worker.model.card
            other.fields["tokenizer"] = ["hf_tokenizer_json": ["path": "hf://a/b/tokenizer.json"]]
            let error = await #expect(throws: TokenModel.Failure.self) { try await TokenModel("m", other) }
            #expect(error?.description.contains("does not download") == true)
            // The second worker's files have replaced those that this card knows.
            let changed = await #expect(throws: TokenModel.Failure.self) {
                try await TokenModel("m", worker.model.card)
            }
            #expect(changed?.description.contains("another content") == true, "\(changed?.description ?? "")")
        }
    }

    @Test("files that a worker serves itself are fetched from it, as soon as it can be reached")
    func remoteFiles() async throws {
        let client = ScriptedClient { _ in [Self.tokens("a", #""length""#)] }
        try await withTemporaryDirectory { directory in
            let port = try freePort()
            let worker = try self.worker(1, directory, filesAt: "http://127.0.0.1:\(port)")
            try await RunningFrontend.run(client) { frontend in
                // It is not listed before it can be served.
                async let published: Void = frontend.publish([worker])
                try await eventually("the model is known, and not served") {
                    try await self.post(frontend, #""prompt":"x""#).status == 503
                }
                let arguments = [
                    "python3", "-m", "http.server", "\(port)", "--bind", "127.0.0.1", "--directory", directory.path(),
                ]
                _ = try await withProgram("/usr/bin/env", arguments) { _ in
                    try await eventually("the model is served") {
                        try await self.post(frontend, #""prompt":"x""#).status == 200
                    }
                }
                try await published
            }
            // They must be what the worker has, too.
            let other = try self.worker(2, directory, template: "{{ 1 }}", filesAt: "http://127.0.0.1:\(port)")
            let text = try JSONValue(parsing: Array("{}".utf8))
            try Data(text.bytes).write(to: directory.appending(path: "tokenizer_config.json"))
            let arguments = [
                "python3", "-m", "http.server", "\(port)", "--bind", "127.0.0.1", "--directory", directory.path(),
            ]
            _ = try await withProgram("/usr/bin/env", arguments) { _ in
                try await eventually(within: .seconds(30), "the changed file is refused") {
                    do {
                        _ = try await TokenModel("m", other.model.card)
                        return false
                    } catch let error as TokenModel.Failure {
                        return error.description.contains("another content") && !error.isTransient
                    }
                }
            }
        }
    }

    @Test("workers that serve the same files at other addresses have one model, read where it can be had")
    func remoteFilesOfMany() async throws {
        let client = ScriptedClient { _ in [Self.tokens("a", #""length""#)] }
        try await withTemporaryDirectory { directory in
            let (dead, port) = (try freePort(), try freePort())
            let first = try self.worker(1, directory, filesAt: "http://127.0.0.1:\(dead)")
            let second = try self.worker(2, directory, filesAt: "http://127.0.0.1:\(port)")
            func serving<Value: Sendable>(
                at port: Int,
                _ body: (RunningProgram) async throws -> Value
            ) async throws -> Value {
                let arguments = [
                    "python3", "-m", "http.server", "\(port)", "--bind", "127.0.0.1", "--directory", directory.path(),
                ]
                return try await withProgram("/usr/bin/env", arguments, body).value
            }
            try await RunningFrontend.run(client) { frontend in
                func answers(by instance: UInt64) async throws -> Bool {
                    guard try await self.post(frontend, #""prompt":"x""#).status == 200 else { return false }
                    return client.sent.withLock { $0.last?.instance } == instance
                }
                frontend.worker.publish([.instance(first.instance), .model(first.model)])
                try await eventually("the model is known, and not served") {
                    try await self.post(frontend, #""prompt":"x""#).status == 503
                }
                try await serving(at: port) { server in
                    // Another worker has come, and that whose files cannot be had goes.
                    frontend.otherWorker.publish([.instance(second.instance), .model(second.model)])
                    frontend.worker.withdraw()
                    try await eventually(within: .seconds(30), "the model is served") { try await answers(by: 2) }
                    #expect(server.output.contains("GET /tokenizer.json"))
                }
                // It is the same model at the first one, which can be reached now: nothing is read again.
                try await serving(at: dead) { server in
                    try await eventually("the files could be had") { SystemProcesses.isListening(port: dead) }
                    frontend.worker.publish([.instance(first.instance), .model(first.model)])
                    try await eventually("both serve") { try await answers(by: 1) }
                    frontend.otherWorker.withdraw()
                    for _ in 0..<50 {
                        let reply = try await self.post(frontend, #""prompt":"x""#)
                        #expect(reply.status == 200, "\(reply.text)")
                    }
                    #expect(client.sent.withLock { $0.last?.instance } == 1)
                    #expect(!server.output.contains("GET "), "\(server.output)")
                }
            }
        }
    }

    @Test("a prompt goes to a prefill worker first, and its answer to the worker that decodes")
    func pools() async throws {
        let client = ScriptedClient { instance in
            instance.id.rawValue == 2
                ? [Self.item(#"{"token_ids":[65],"disaggregated_params":{"at":7}}"#), Self.tokens("", #""length""#)]
                : [Self.tokens("ok", #""length""#)]
        }
        try await withTemporaryDirectory { directory in
            let decode = try self.worker(1, directory)
            let prefill = try self.worker(2, directory, kind: .prefill, component: "prefill")
            var router = RouterConfiguration()
            router.mode = .kv
            try await RunningFrontend.run(client, router: router) { frontend in
                try await frontend.publish([decode, prefill])
                try await eventually("the request is divided") {
                    let reply = try await self.post(
                        frontend,
                        #""prompt":"abcdefgh","max_tokens":2,"nvext":{"extra_fields":["worker_id"]}"#
                    )
                    #expect(reply.text.contains(#""text":"ok""#), "\(reply.text)")
                    return reply.text.contains(#""prefill_worker_id":2"#)
                        && reply.text.contains(#""decode_worker_id":1"#)
                }
                let sent = client.sent.withLock { $0.suffix(2) }
                #expect(sent.map(\.instance) == [2, 1])
                #expect(sent.first?.payload.contains(#""max_tokens":1,"#) == true)
                #expect(sent.last?.payload.contains(#""prefill_result":{"disaggregated_params":{"at":7}}"#) == true)
                #expect(sent.last?.payload.contains(#""max_tokens":2,"#) == true)
            }
        }
    }
}
