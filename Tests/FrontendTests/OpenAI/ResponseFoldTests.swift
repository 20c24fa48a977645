import Discovery
import DynamoRuntime
import NIOCore
import Testing

@testable import dynamo_frontend

@Suite("Chunks folded into one answer")
struct ResponseFoldTests {
    private func fold(_ kind: TextRequestKind, _ chunks: [String]) throws -> JSONValue {
        var fold = ResponseFold(kind: kind)
        for chunk in chunks { try fold.add(ByteBuffer(string: chunk)) }
        return fold.response
    }

    private func chunk(_ choices: String) -> String {
        #"{"id":"i","object":"x","created":1,"model":"m","choices":[\#(choices)]}"#
    }

    @Test("a chat: role, joined content, reason, usage of the last chunk")
    func chat() throws {
        let response = try self.fold(
            .chat,
            [
                self.chunk(#"{"index":0,"delta":{"role":"assistant","content":"Hel"},"finish_reason":null}"#),
                self.chunk(
                    #"{"index":0,"delta":{"content":"lo","reasoning_content":"be"}},{"index":1,"delta":{"content":"x"}}"#
                ),
                self.chunk(
                    #"{"index":0,"delta":{"reasoning_content":"cause"},"finish_reason":"stop"},{"index":1,"delta":{},"finish_reason":"length"}"#
                ),
                #"{"id":"i","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#,
            ]
        )
        #expect(
            response.text == #"{"id":"i","created":1,"model":"m","object":"chat.completion","choices":["#
                + #"{"index":0,"message":{"role":"assistant","content":"Hello","reasoning_content":"because"},"finish_reason":"stop","logprobs":null},"#
                + #"{"index":1,"message":{"role":"assistant","content":"x"},"finish_reason":"length","logprobs":null}],"#
                + #""usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#
        )
    }

    @Test("tool calls are put together from their pieces")
    func tools() throws {
        let response = try self.fold(
            .chat,
            [
                self.chunk(
                    #"{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\""}}]}}"#
                ),
                self.chunk(
                    #"{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}},{"index":1,"id":"c2"}]},"finish_reason":"tool_calls"}"#
                ),
            ]
        )
        let message = response["choices"]?.array?.first?["message"]
        #expect(message?["content"] == .null)
        #expect(
            message?["tool_calls"]?.text
                == #"[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"c2"}]"#
        )
    }

    @Test("completions and their log probabilities")
    func completions() throws {
        let response = try self.fold(
            .completions,
            [
                self.chunk(#"{"index":0,"text":"a","logprobs":{"tokens":["a"]}}"#),
                self.chunk(#"{"index":0,"text":"b","logprobs":{"tokens":["b"]},"finish_reason":"stop"}"#),
            ]
        )
        #expect(response["object"] == "text_completion")
        #expect(
            response["choices"]?.text
                == #"[{"index":0,"text":"ab","finish_reason":"stop","logprobs":{"tokens":["a","b"]}}]"#
        )
        #expect(response["usage"] == .null)
    }

    @Test("a chunk that is no JSON is an error")
    func broken() {
        var fold = ResponseFold(kind: .chat)
        #expect(throws: JSONError.self) { try fold.add(ByteBuffer(string: "{")) }
        #expect(throws: Never.self) { try fold.add(ByteBuffer(string: #"{"id":"1","choices":[]}"#)) }
        for text in ["{", #"{"choices":[}"#, #"{"choices":["\ud800"]}"#] {
            #expect(throws: JSONError.self) { try fold.add(ByteBuffer(string: text)) }
        }
        #expect(throws: Never.self) { try fold.add(ByteBuffer(string: "[1]")) }
        #expect(fold.response["id"] == "1")
    }
}
