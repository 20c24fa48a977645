import Foundation
import RequestPlane
import TestSupport
import Testing

/// Our simulated engine behind Dynamo's own frontend, which tokenizes with the files that the worker has written.
@Suite("The mock engine behind real frontends", .serialized, .timeLimit(.minutes(2)))
struct MockWorkerTests {
    @Test(
        "a real frontend takes the card, tokenizes and streams",
        arguments: InteropPeer.pairs.filter { $0.mode == .tcp }
    )
    func realFrontend(_ peer: InteropPeer) async throws {
        let python = try TestEnvironment.python(peer.release)
        try await withTemporaryDirectory { directory in
            let place = MixedPlace(directory: directory.appending(path: "kv"), port: try freePort())
            let systemPort = try freePort()
            var environment = place.environment()
            environment["XDG_STATE_HOME"] = directory.path
            environment["DYN_SYSTEM_PORT"] = "\(systemPort)"
            environment["DYN_SYSTEM_HOST"] = "127.0.0.1"
            _ = try await withProgram(
                python,
                ["-m", "dynamo.frontend", "--http-port", "\(place.port)"],
                environment: place.environment()
            ) { frontend in
                let (_, exit) = try await withProgram(
                    TestEnvironment.products.appending(path: "dynamo-worker").path,
                    ["--engine", "mock", "--num-blocks", "64", "--decode-tokens-per-second", "1000"],
                    environment: environment
                ) { worker in
                    try await place.waitForModel("mock", frontend)
                    try await self.ask(place)
                    try await self.checkTokenizer(python, below: directory)
                    let metrics = try await HTTPRequests.get("http://127.0.0.1:\(systemPort)/metrics").text
                    #expect(metrics.contains(#"dynamo_worker_kv_hit_blocks_total{model="mock"} 1"#), "\(metrics)")
                    #expect(metrics.contains(#"dynamo_worker_kv_active_blocks{model="mock"} 0"#), "\(metrics)")
                    worker.send(SIGTERM)
                    try await worker.waitForExit()
                }
                #expect(exit == .code(0))
            }
        }
    }

    /// The second of two equal chats finds its one full block in the cache.
    private func ask(_ place: MixedPlace) async throws {
        func post(_ path: String, _ json: String) async throws -> HTTPReply {
            try await HTTPRequests.post("\(place.url)/v1/\(path)", json: json)
        }
        let chat = #"{"model":"mock","messages":[{"role":"user","content":"hi there grüß 😀"}],"max_tokens":8"#
        let whole = try await post("chat/completions", chat + "}")
        #expect(whole.status == 200, "\(whole.text)")
        let usage = try whole.object()["usage"] as? [String: Any]
        // The bytes of the text and three special tokens of the template.
        #expect(usage?["prompt_tokens"] as? Int == 23, "\(whole.text)")
        #expect(usage?["completion_tokens"] as? Int == 8, "\(whole.text)")
        let choice = (try whole.object()["choices"] as? [[String: Any]])?.first
        let content = (choice?["message"] as? [String: Any])?["content"] as? String

        let streamed = try await post("chat/completions", chat + #","stream":true}"#)
        #expect(streamed.status == 200, "\(streamed.text)")
        let events = streamed.text.split(separator: "\n\n").map { $0.dropFirst("data: ".count) }
        #expect(events.last == "[DONE]")
        let pieces = try events.dropLast().compactMap { event -> String? in
            let object = try JSONSerialization.jsonObject(with: Data(event.utf8)) as? [String: Any]
            let choice = (object?["choices"] as? [[String: Any]])?.first
            return (choice?["delta"] as? [String: Any])?["content"] as? String
        }
        #expect(pieces.joined() == content, "the same prompt has the same answer")

        let completion = try await post("completions", #"{"model":"mock","prompt":"one two","max_tokens":5}"#)
        #expect(completion.status == 200, "\(completion.text)")
        #expect(completion.text.contains(#""finish_reason":"length""#), "\(completion.text)")
    }

    /// Python's `transformers` loads the folder: tokens are bytes, there and back.
    private func checkTokenizer(_ python: String, below directory: URL) async throws {
        let script = """
            import glob, sys
            from transformers import AutoTokenizer
            tokenizer = AutoTokenizer.from_pretrained(glob.glob(sys.argv[1] + '/dynamo-worker/*')[0])
            text = 'Hällo 漢字 😀  \\n\\tx'
            tokens = tokenizer.encode(text)
            print('bytes', tokens == list(text.encode()), tokenizer.decode(tokens) == text)
            print('specials', tokenizer.encode('<|user|>hi<|end|>') == [259, 104, 105, 257])
            """
        let (_, exit) = try await withProgram(
            python,
            ["-c", script, directory.path],
            environment: ["HF_HUB_OFFLINE": "1"]
        ) { program in
            try await program.waitForExit()
            #expect(program.output.contains("bytes True True"), "\(program.output)")
            #expect(program.output.contains("specials True"), "\(program.output)")
        }
        #expect(exit == .code(0))
    }
}
