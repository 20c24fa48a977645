import Discovery
import Foundation
import RequestPlane
import TestSupport
import Testing

/// Our frontend and Dynamo's before one worker that takes token ids: what the worker gets, and what the client gets.
@Suite("Workers that take token ids, behind our frontend and Dynamo's", .serialized, .timeLimit(.minutes(2)))
struct TokenWorkerTests {
    private static let message = #""messages":[{"role":"user","content":"Hello, a worker! grüß 😀"}]"#

    /// Requests that both frontends understand alike, without the model.
    private static let requests: [(path: String, body: String)] =
        [
            "", #""max_tokens":3,"stream":true,"stream_options":{"include_usage":true}"#,
            #""max_tokens":3,"stream":true"#,
            #""max_completion_tokens":4,"temperature":0.5,"top_p":0.9,"seed":7,"frequency_penalty":0.1"#,
            #""presence_penalty":0.2,"stop":["zzz","yy"],"n":1,"max_tokens":2"#,
            #""max_tokens":2,"top_k":5,"min_p":0.1,"repetition_penalty":1.1,"ignore_eos":true,"min_tokens":2"#,
            #""max_tokens":2,"include_stop_str_in_output":true,"skip_special_tokens":false"#,
            #""max_tokens":2,"stream":true,"nvext":{"annotations":["formatted_prompt"]}"#,
            #""max_tokens":2,"nvext":{"annotations":["token_ids"],"extra_fields":["worker_id"]}"#,
            #""max_tokens":1,"logprobs":true,"top_logprobs":2"#, #""max_tokens":1,"logprobs":true"#,
            #""max_tokens":2,"response_format":{"type":"json_object"}"#, #""max_tokens":2,"guided_regex":"a+""#,
            #""max_tokens":2,"guided_choice":["a","b"]"#,
            #""max_tokens":2,"chat_template_args":{"add_generation_prompt":false,"x":1}"#,
            #""max_tokens":2,"tools":[{"type":"function","function":{"name":"f","parameters":{}}}]"#,
            #""max_tokens":100000"#, #""stop":["zz"],"stream":true"#,
        ].map { ("chat/completions", Self.message + ($0.isEmpty ? "" : ",") + $0) } + [
            (
                "chat/completions",
                #""messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}],"max_tokens":1"#
            ),
            (
                "chat/completions",
                #""messages":[{"role":"developer","content":"Hi"},{"role":"assistant","content":"x"}],"max_tokens":1"#
            ), ("completions", #""prompt":"Hello there","max_tokens":3"#),
            (
                "completions",
                #""prompt":"Hello there","max_tokens":3,"stream":true,"stream_options":{"include_usage":true}"#
            ),
            ("completions", #""prompt":[10,11,12],"max_tokens":3"#),
            ("completions", #""prompt":["Hello"],"max_tokens":2"#),
            ("completions", #""prompt":"<|start|>Hello <|end|>","max_tokens":1,"logprobs":2"#),
            ("completions", #""prompt":"x","nvext":{"token_data":[1,2,3]},"max_tokens":1"#),
        ]

    @Test func `a worker cannot tell our frontend from Dynamo's, nor can a client`() async throws {
        let python = try TestEnvironment.python(.v121)
        let model = try TestEnvironment.model()
        try await withTemporaryDirectory { directory in
            let place = MixedPlace(directory: directory.appending(path: "kv"), port: try freePort())
            let other = try freePort()
            let log = directory.appending(path: "requests.jsonl")
            let script = TestEnvironment.root.appending(path: "Tests/Fixtures/Dynamo/token_worker.py").path
            _ = try await withProgram(python, [script, model, log.path], environment: place.environment()) { worker in
                let ours = TestEnvironment.products.appending(path: "dynamo-frontend").path
                let flags = ["--http-port", "\(place.port)"]
                _ = try await withProgram(ours, flags, environment: place.environment()) { frontend in
                    try await place.waitForModel("tokens", worker)
                    _ = try await withProgram(
                        python,
                        ["-m", "dynamo.frontend", "--http-port", "\(other)"],
                        environment: place.environment()
                    ) { real in
                        let there = MixedPlace(directory: place.directory, port: other)
                        try await there.waitForModel("tokens", real)
                        for (path, body) in Self.requests {
                            let mine = try await self.ask(place, path, body, log)
                            let theirs = try await self.ask(there, path, body, log)
                            #expect(mine.received == theirs.received, "\(body)")
                            #expect(mine.answer == theirs.answer, "\(body)")
                        }
                        try await self.refusals(place)
                    }
                    #expect(!frontend.output.contains("ERROR"), "\(frontend.output)")
                }
            }
        }
    }

    /// What Dynamo's frontend does differently, or what ours does not do.
    private func refusals(_ place: MixedPlace) async throws {
        for (body, message) in [
            (#""prompt":["a","b"]"#, "send several prompts one by one"),
            (#""prompt":"a","echo":true"#, "`echo` is not"),
            (#""prompt":"a","nvext":{"token_data":["x"]}"#, "must be a list of token ids"),
            (#""prompt":"a","suffix":"b""#, "`suffix` is not"), (#""prompt":"\#(Self.longText)""#, "context has 8192"),
        ] {
            let reply = try await HTTPRequests.post(
                place.url + "/v1/completions",
                json: #"{"model":"tokens",\#(body)}"#
            )
            #expect(reply.status == 400)
            #expect(reply.text.contains(message), "\(reply.text)")
        }
        // The text before the sequence, which Dynamo's frontend cuts at the last token's begin.
        let stopped = try await HTTPRequests.post(
            place.url + "/v1/completions",
            json: #"{"model":"tokens","prompt":"a","stop":"EF"}"#
        )
        let choice = (try stopped.object()["choices"] as? [[String: Any]])?.first
        #expect(choice?["text"] as? String == "CD")
        #expect(choice?["finish_reason"] as? String == "stop")
    }

    private static let longText = String(repeating: "x y ", count: 5000)

    private struct Seen {
        var received: JSONValue
        var answer: [JSONValue]
    }

    /// Sends a request, and reads what the worker got of it.
    private func ask(_ place: MixedPlace, _ path: String, _ body: String, _ log: URL) async throws -> Seen {
        let before = Self.lines(log).count
        let json = #"{"model":"tokens",\#(body)}"#
        let reply = try await HTTPRequests.post("\(place.url)/v1/\(path)", json: json)
        #expect(reply.status == 200, "\(body): \(reply.text)")
        let lines = Self.lines(log)
        try #require(lines.count == before + 1)
        var received = try #require(try JSONValue(parsing: lines[before]).object)
        // A checksum over the card, which nobody looks at.
        received["mdc_sum"] = nil
        let parts =
            reply.text.hasPrefix("{")
            ? [reply.text]
            : reply.text.split(separator: "\n\n").map { String($0.hasPrefix("data: ") ? $0.dropFirst(6) : $0) }
        return Seen(received: Self.sorted(.object(received)), answer: parts.map(Self.comparable))
    }

    private static func lines(_ log: URL) -> [String] {
        let text = (try? Data(contentsOf: log)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        return text.split(separator: "\n").map(String.init)
    }

    /// A part of an answer without what differs from request to request.
    private static func comparable(_ text: String) -> JSONValue {
        guard var fields = (try? JSONValue(parsing: text))?.object else { return .string(text) }
        for name in ["id", "created"] { fields[name] = nil }
        let choices = fields["choices"]?.array ?? []
        fields["choices"] = .array(
            choices.map { choice in
                guard var choice = choice.object else { return choice }
                // Dynamo's frontend says `null` for what it has not, or leaves it out, as the case may be.
                if choice["logprobs"]?.isNull == true { choice["logprobs"] = nil }
                if var message = choice["message"]?.object {
                    message["reasoning_content"] = nil
                    choice["message"] = .object(message)
                }
                return .object(choice)
            }
        )
        return self.sorted(.object(fields))
    }

    private static func sorted(_ value: JSONValue) -> JSONValue {
        switch value {
        case .object(let fields):
            let members = fields.members.sorted { $0.name < $1.name }
            return .object(JSONFields(members.map { JSONFields.Member($0.name, self.sorted($0.value)) }))
        case .array(let elements): return .array(elements.map(self.sorted))
        default: return value
        }
    }
}
