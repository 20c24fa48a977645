import Discovery
import DynamoRuntime
import HTTPTypes
import NIOCore
import Testing

@testable import dynamo_frontend

@Suite("What a client sends and what of it goes on")
struct TextRequestTests {
    private func parse(_ json: String, _ kind: TextRequestKind = .chat) throws(OpenAIError) -> TextRequest {
        try TextRequest(parsing: ByteBuffer(string: json), kind: kind)
    }

    @Test("what the contract does not change goes on byte for byte")
    func untouched() throws {
        let json =
            #"{ "model":"m", "messages":[{"role":"user","content":"x"}], "stream":true, "seed":12345678901234567890, "temperature":0.10 }"#
        let request = try self.parse(json)
        #expect(String(buffer: request.payload) == json)
        #expect(request.streams)
        #expect(request.model == "m")
    }

    @Test(
        "the few changes that Dynamo's frontend makes",
        arguments: [
            (#""stream":false"#, ""), (#""user":null"#, ""),
            (
                #""stream":true,"stream_options":{"include_usage":true}"#,
                #","stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":false}"#
            ),
            (#""chat_template_kwargs":{"a":1}"#, #","chat_template_args":{"a":1}"#),
        ]
    )
    func changes(field: String, expected: String) throws {
        let request = try self.parse(#"{"model":"m","messages":[{"role":"user","content":"x"}],\#(field)}"#)
        #expect(
            String(buffer: request.payload) == #"{"model":"m","messages":[{"role":"user","content":"x"}]\#(expected)}"#
        )
    }

    @Test("fields that are null are left out in one pass, however many there are")
    func manyNulls() throws {
        let count = 100_000
        let json =
            #"{"model":"m","messages":[{"role":"user","content":"x"}]"#
            + String(repeating: #","user":"u","seed":null"#, count: count) + "}"
        let started = ContinuousClock.now
        let request = try self.parse(json)
        // One pass takes a second or two; a pass for each null would take minutes.
        #expect(ContinuousClock.now - started < .seconds(30))
        let expected =
            #"{"model":"m","messages":[{"role":"user","content":"x"}]"#
            + String(repeating: #","user":"u""#, count: count) + "}"
        #expect(String(buffer: request.payload) == expected)
    }

    @Test("requests that real frontends passed on are passed on unchanged", arguments: ["1.2.1", "1.6.1"])
    func captured(version: String) throws {
        let captures = try FrontendFixture.requests().filter { $0["version"]?.string == version }
        #expect(captures.count == 2)
        for capture in captures {
            let request = try #require(capture["request"])
            #expect(try JSONValue(parsing: self.parse(request.text).payload) == request)
        }
    }

    @Test(
        "bad chat requests name the field",
        arguments: [
            (
                #"{"model":"#, nil,
                "Failed to parse the request body as JSON: EOF while parsing a value at line 1 column 10"
            ),
            ("[]", nil, "The request body must be a JSON object, not an array"),
            ("{}", "model", "missing field `model`"),
            (#"{"model":5}"#, "model", "`model` must be a string, not a number"),
            (#"{"model":""}"#, "model", "Model cannot be empty"),
            (#"{"model":"m"}"#, "messages", "missing field `messages`"),
            (#"{"model":"m","messages":"x"}"#, "messages", "`messages` must be a list, not a string"),
            (
                #"{"model":"m","messages":[]}"#, "messages",
                "The 'messages' field cannot be empty. At least one message is required."
            ),
            (#"{"model":"m","messages":[{"content":"x"}]}"#, "messages[0].role", "missing field `messages[0].role`"),
            (
                #"{"model":"m","messages":[{"role":"user"}]}"#, "messages[0].content",
                "missing field `messages[0].content`"
            ),
            (
                #"{"model":"m","messages":[{"role":"boss","content":"x"}]}"#, "messages[0].role",
                "`messages[0].role` must be one of assistant, developer, function, system, tool, user, not \"boss\""
            ),
            (Self.chat(#""foo":1,"bar":2"#), "foo", "Unsupported parameter(s): `foo`, `bar`"),
            (Self.chat(#""stream":"x""#), "stream", "`stream` must be a boolean, not a string"),
            (Self.chat(#""temperature":9"#), "temperature", "`temperature` must be between 0 and 2, got 9"),
            (Self.chat(#""n":0"#), "n", "`n` must be between 1 and 128, got 0"),
            (Self.chat(#""top_p":"a""#), "top_p", "`top_p` must be a number, not a string"),
            (Self.chat(#""max_tokens":0"#), "max_tokens", "`max_tokens` must be a whole number greater than 0, got 0"),
            (
                Self.chat(#""stream_options":{}"#), "stream_options",
                "The 'stream_options' field is only allowed when 'stream' is set to true."
            ),
        ] as [(String, String?, String)]
    )
    func chatFaults(json: String, param: String?, message: String) {
        let error = #expect(throws: OpenAIError.self) { try self.parse(json) }
        #expect(error?.message == message)
        #expect(error?.param == param)
        #expect(error?.status == .badRequest)
    }

    @Test(
        "bad completion requests name the field",
        arguments: [
            (#"{"model":"m"}"#, "missing field `prompt`"),
            (#"{"model":"m","prompt":""}"#, "Prompt string cannot be empty"),
            (#"{"model":"m","prompt":[]}"#, "Prompt string array cannot be empty"),
            (#"{"model":"m","prompt":["a",""]}"#, "Prompt string at index 1 cannot be empty"),
            (#"{"model":"m","prompt":"x","messages":[]}"#, "Unsupported parameter(s): `messages`"),
        ]
    )
    func completionFaults(json: String, message: String) {
        let error = #expect(throws: OpenAIError.self) { try self.parse(json, .completions) }
        #expect(error?.message == message)
    }

    @Test("errors have OpenAI's form")
    func form() {
        #expect(
            OpenAIError.unknownModel("x").json.text
                == #"{"error":{"message":"The model `x` does not exist","type":"not_found_error","param":"model","code":"model_not_found"}}"#
        )
    }

    private static func chat(_ field: String) -> String {
        #"{"model":"m","messages":[{"role":"user","content":"x"}],\#(field)}"#
    }
}
