import NIOCore
import RequestPlane
import Testing

@testable import dynamo_worker

@Suite("Tokenized requests")
struct MockRequestTests {
    private func parse(_ json: String, context: Int = 100, cache: Int = 1000) throws -> MockRequest {
        let limits = MockRequest.Limits(contextLength: context, cacheTokens: cache, answerTokens: 64)
        return try MockRequest(parsing: ByteBuffer(string: json), limits: limits)
    }

    @Test("as Dynamo 1.2.1 sends them")
    func whole() throws {
        let request = try self.parse(
            #"{"model":"handtok","token_ids":[1,87,85],"stop_conditions":{"max_tokens":7,"stop":null,"stop_token_ids":[4],"#
                + #""stop_token_ids_hidden":[2],"min_tokens":1,"ignore_eos":null},"sampling_options":{"seed":-3},"#
                + #""eos_token_ids":[3],"annotations":[],"routing":{"dp_rank":0},"router_config_override":null}"#
        )
        #expect(request.prompt == [1, 87, 85])
        #expect(request.maxTokens == 7)
        #expect(request.minTokens == 1)
        #expect(request.stopTokens == [2, 3, 4])
        #expect(request.endReason == .length)
        #expect(request.seed == UInt64(bitPattern: -3))
        let ignoring = try self.parse(#"{"token_ids":[1],"stop_conditions":{"ignore_eos":true},"eos_token_ids":[3]}"#)
        #expect(ignoring.stopTokens.isEmpty)
    }

    @Test("the length of an answer: what is asked, what fits, or the default, which ends by itself")
    func length() throws {
        #expect(try self.parse(#"{"token_ids":[1,2]}"#).maxTokens == 64)
        #expect(try self.parse(#"{"token_ids":[1,2]}"#).endReason == .stop)
        #expect(try self.parse(#"{"token_ids":[1,2]}"#, context: 10).maxTokens == 8)
        #expect(try self.parse(#"{"token_ids":[1,2]}"#, context: 10).endReason == .length)
        #expect(try self.parse(#"{"token_ids":[1,2],"stop_conditions":{"max_tokens":90}}"#, cache: 32).maxTokens == 30)
    }

    @Test(
        "bad requests",
        arguments: [
            ("{}", "`token_ids` is empty"), ("[", "the request is not JSON"),
            (#"{"token_ids":"a"}"#, "`token_ids` must be a list of token ids, not a string"),
            (#"{"token_ids":[-1]}"#, "`token_ids` must hold token ids, whole numbers below 2^32"),
            (#"{"token_ids":[4294967296]}"#, "`token_ids` must hold token ids"),
            (#"{"token_ids":[1],"stop_conditions":{"max_tokens":-1}}"#, "`stop_conditions.max_tokens` must be a whole"),
            (#"{"token_ids":[1,2,3,4]}"#, "the prompt has 4 tokens; the context has 4"),
        ]
    )
    func faults(json: String, message: String) {
        let error = #expect(throws: RemoteError.self) { try self.parse(json, context: 4) }
        #expect(error?.kind == .invalidArgument)
        #expect(error?.message.hasPrefix(message) == true, "\(error?.message ?? "")")
    }
}
