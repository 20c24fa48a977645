import Discovery
import NIOCore
import RequestPlane
import Testing

@testable import dynamo_worker

@Suite("The echo as a stream")
struct EchoStreamTests {
    private func answer(_ json: String, rate: Double = 0) -> EchoStream {
        let endpoint = EndpointID(namespace: "n", component: "c", name: "e")
        return EchoEngine(contextLength: 4096, rate: rate).answer(
            IncomingRequest(id: "r1", endpoint: endpoint, payload: ByteBuffer(string: json))
        )
    }

    private func chunks(_ stream: EchoStream) async throws -> [JSONValue] {
        var chunks: [JSONValue] = []
        for try await item in stream {
            guard case .data(let payload) = item else { continue }
            chunks.append(try JSONValue(parsing: payload))
        }
        return chunks
    }

    @Test("chat chunks are OpenAI's")
    func chat() async throws {
        let chunks = try await self.chunks(
            self.answer(#"{"model":"m\"","messages":[{"role":"user","content":"a \"b\""}]}"#)
        )
        #expect(
            chunks.map { $0["choices"]?.text } == [
                #"[{"index":0,"delta":{"role":"assistant","content":"a"},"finish_reason":null}]"#,
                #"[{"index":0,"delta":{"content":" \""},"finish_reason":null}]"#,
                #"[{"index":0,"delta":{"content":"b"},"finish_reason":null}]"#,
                #"[{"index":0,"delta":{"content":"\""},"finish_reason":null}]"#,
                #"[{"index":0,"delta":{},"finish_reason":"stop"}]"#, "[]",
            ]
        )
        #expect(
            chunks.allSatisfy {
                $0["id"] == "chatcmpl-r1" && $0["object"] == "chat.completion.chunk" && $0["model"] == "m\""
            }
        )
        #expect(chunks.last?["usage"]?.text == #"{"prompt_tokens":4,"completion_tokens":4,"total_tokens":8}"#)
    }

    @Test("completion chunks are OpenAI's; choices that are longer go on alone")
    func completions() async throws {
        let chunks = try await self.chunks(self.answer(#"{"model":"m","prompt":["a","b c"],"stream":true}"#))
        #expect(
            chunks.map { $0["choices"]?.text } == [
                #"[{"index":0,"text":"a","finish_reason":null},{"index":1,"text":"b","finish_reason":null}]"#,
                #"[{"index":1,"text":" c","finish_reason":null}]"#,
                #"[{"index":0,"text":"","finish_reason":"stop"},{"index":1,"text":"","finish_reason":"stop"}]"#,
            ]
        )
        #expect(chunks.first?["object"] == "text_completion")
    }

    @Test("a bad request is an error inside the stream")
    func failure() async throws {
        var items: [ResponseItem] = []
        for try await item in self.answer("{}") { items.append(item) }
        #expect(items == [.failure(RemoteError(kind: .invalidArgument, message: "`model` must be a string"))])
    }

    @Test("tokens come at the given rate")
    func rate() async throws {
        let start = ContinuousClock.now
        _ = try await self.chunks(self.answer(#"{"model":"m","prompt":"a b c d e f"}"#, rate: 100))
        let elapsed = start.duration(to: .now)
        #expect(elapsed >= .milliseconds(50))
        #expect(elapsed < .seconds(5))
    }

    @Test("cancelling ends the wait for the next token at once")
    func cancellation() async throws {
        let stream = self.answer(#"{"model":"m","prompt":"a b"}"#, rate: 0.001)
        let start = ContinuousClock.now
        await withThrowingTaskGroup(of: Void.self) { group in
            let (first, arrived) = AsyncStream.makeStream(of: Void.self)
            group.addTask {
                for try await _ in stream { arrived.finish() }
            }
            for await _ in first {}
            group.cancelAll()
            await #expect(throws: CancellationError.self) { try await group.waitForAll() }
        }
        #expect(start.duration(to: .now) < .seconds(5))
    }
}
