import DynamoRuntime
import NIOCore
import RequestPlane
import Testing

@testable import dynamo_worker

@Suite("What the echo answers")
struct EchoPlanTests {
    private func plan(_ json: String, context: Int = 4096) throws -> EchoPlan {
        try EchoPlan(request: EchoRequest(parsing: ByteBuffer(string: json)), contextLength: context)
    }

    @Test(
        "tokens joined give the text",
        arguments: [
            "one two three", "  a  b ", "äöü, 你好世界!", "👩‍👩‍👧‍👦é", "supercalifragilistic 12345678901", "a\n\n\tb", "", "\r\n",
        ]
    )
    func lossless(text: String) {
        let tokens = EchoTokens.split(text)
        #expect(tokens.joined() == text)
        #expect(tokens.allSatisfy { !$0.isEmpty })
    }

    @Test("words take the space before them, long ones are cut, signs stand alone")
    func tokens() {
        #expect(EchoTokens.split("one two, internationally") == ["one", " two", ",", " internat", "ionally"])
    }

    @Test("a chat gives its last user message back, be it text or parts")
    func chat() throws {
        let plan = try self.plan(
            #"{"model":"m","messages":[{"role":"system","content":"be kind"},{"role":"user","content":[{"type":"text","text":"hi "},"#
                + #"{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"there"}]},{"role":"assistant","content":null}]}"#
        )
        #expect(plan.choices == [EchoPlan.Choice(tokens: ["hi", " there"], finishReason: .stop)])
        #expect(plan.promptTokens == 4)
        #expect(plan.includesUsage)
    }

    @Test(
        "limits",
        arguments: [
            (#""max_tokens":2"#, "one two", EchoPlan.FinishReason.length), (#""max_tokens":3"#, "one two three", .stop),
            (#""max_tokens":1,"max_completion_tokens":2"#, "one two", .length), (#""stop":" th""#, "one two", .stop),
            (#""stop":["e t","zzz"]"#, "on", .stop), (#""stop":["three"],"max_tokens":1"#, "one", .length),
            (#""stop":"""#, "one two three", .stop),
        ]
    )
    func limits(field: String, text: String, reason: EchoPlan.FinishReason) throws {
        let plan = try self.plan(#"{"model":"m","prompt":"one two three",\#(field)}"#)
        #expect(plan.choices.map { $0.tokens.joined() } == [text])
        #expect(plan.choices.map(\.finishReason) == [reason])
    }

    @Test("several prompts and several choices")
    func choices() throws {
        let plan = try self.plan(#"{"model":"m","prompt":["a b","c"],"n":2}"#)
        #expect(plan.choices.map { $0.tokens.joined() } == ["a b", "a b", "c", "c"])
        #expect(plan.completionTokens == 6)
        #expect(plan.steps == 2)
    }

    @Test("prompt and answer share the context")
    func context() throws {
        let plan = try self.plan(#"{"model":"m","prompt":"a b c d"}"#, context: 6)
        #expect(plan.choices.first?.tokens.count == 2)
        #expect(plan.choices.first?.finishReason == .length)
        let error = #expect(throws: RemoteError.self) {
            try self.plan(#"{"model":"m","prompt":"a b c d"}"#, context: 4)
        }
        #expect(error?.kind == .invalidArgument)
        #expect(error?.message == "the prompt has 4 tokens; the context of `m` has 4")
    }

    @Test("only a caller that streams and does not ask gets no usage")
    func usage() throws {
        #expect(try self.plan(#"{"model":"m","prompt":"a","stream":true}"#).includesUsage == false)
        let asked = #"{"model":"m","prompt":"a","stream":true,"stream_options":{"include_usage":true}}"#
        #expect(try self.plan(asked).includesUsage)
    }

    @Test(
        "bad requests",
        arguments: [
            ("{", "the request is not JSON: EOF while parsing an object at line 1 column 2"),
            ("{}", "`model` must be a string"),
            (#"{"model":"m"}"#, "`messages` must be a list that is not empty"),
            (#"{"model":"m","prompt":[1,2]}"#, "this worker takes text prompts, not token ids"),
            (#"{"model":"m","prompt":"a","n":0}"#, "`n` must be a whole number above 0"),
            (#"{"model":"m","prompt":"a","max_tokens":1.5}"#, "`max_tokens` must be a whole number above 0"),
            (#"{"model":"m","prompt":"a","stop":5}"#, "`stop` must be a string or a list of strings, not a number"),
        ]
    )
    func faults(json: String, message: String) {
        let error = #expect(throws: RemoteError.self) { try self.plan(json) }
        #expect(error == RemoteError(kind: .invalidArgument, message: message))
    }
}
