import Testing

@testable import Deployment

@Suite struct TemplateTests {
    private let values: [String: Template.Value] = [
        "index": .number(3), "replicas": .number(4), "namespace": .text("demo"), "port.http": .number(8000),
        "port.kv-events": .number(5557), "gpus": .text("0,1"),
    ]

    @Test(arguments: [
        ("plain", "plain"), ("{{index}}", "3"), ("a{{ index }}b", "a3b"), ("{{20080 + index}}", "20083"),
        ("{{index * 2 + 1}}", "7"),
        ("{{1 + index * 2}}", "7"), ("{{(1 + index) * 2}}", "8"), ("{{10 - index - 1}}", "6"), ("{{7 / 2}}", "3"),
        ("{{7 % 4}}", "3"),
        ("{{-index + 5}}", "2"), ("{{namespace}}-{{gpus}}", "demo-0,1"), ("{{port.http}}", "8000"),
        ("{{port.kv-events}}", "5557"),
        ("{{port.kv-events - index}}", "5554"), ("{{port.http-index}}", "7997"), ("{{'{{'}}", "{{"),
        ("{{\"}}\"}}", "}}"),
        (#"{"a":{"b":1}}"#, #"{"a":{"b":1}}"#),
        (#"{"p":"tcp://*:{{port.kv-events}}","q":{}}"#, #"{"p":"tcp://*:5557","q":{}}"#),
        ("}}", "}}"), ("{ {", "{ {"), ("", ""),
    ])
    func resolves(_ text: String, _ expected: String) throws {
        var values = self.values
        // A minus between a name with a dot and letters is a part of the name, as long as there is such a name.
        values["port.http-index"] = .number(7997)
        #expect(try TemplateParser.parse(text).resolved(values) == expected)
    }

    @Test(arguments: [
        "{{", "{{}}", "{{index", "{{index}", "{{index +}}", "{{(index}}", "{{1 2}}", "{{'a}}", "{{a b}}", "{{!}}",
        "{{99999999999999999999}}",
    ])
    func refusesToParse(_ text: String) {
        #expect(throws: Template.Failure.self) { try TemplateParser.parse(text) }
    }

    @Test(arguments: [
        "{{namespace + 1}}", "{{1 / 0}}", "{{1 % (index - 3)}}", "{{9223372036854775807 + 1}}", "{{nothing}}",
        "{{-namespace}}",
    ])
    func refusesToResolve(_ text: String) throws {
        let template = try TemplateParser.parse(text)
        #expect(throws: Template.Failure.self) { try template.resolved(self.values) }
    }

    @Test func namesAreKnown() throws {
        let template = try TemplateParser.parse("a{{index + port.http}}{{-(gpus)}}{{'x'}}")
        #expect(template.names == ["index", "port.http", "gpus"])
        #expect(template.literal == nil)
        #expect(try TemplateParser.parse("a{{'x'}}").literal == "ax")
    }
}
