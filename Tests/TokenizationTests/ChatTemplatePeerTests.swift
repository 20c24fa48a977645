import Discovery
import Foundation
import TestSupport
import Testing
import Tokenization

/// What `transformers` makes of chat templates in the styles that are in use, and of the language's parts one by one.
@Suite("Chat templates, beside transformers")
struct ChatTemplatePeerTests {
    @Test("texts are the same, and what fails there fails here")
    func peers() async throws {
        try await withTemporaryDirectory { directory in
            let script = TestEnvironment.root.appending(path: "Tests/TokenizationTests/Fixtures/render_templates.py")
            let output = directory.appending(path: "cases.json")
            let run = try await withProgram(
                try TestEnvironment.python(.v121),
                [script.path(), output.path(), try TestEnvironment.model()]
            ) { program in
                try await program.waitForExit(within: .seconds(90))
                return program.output
            }
            #expect(run.exit == .code(0), "\(run.value)")
            let cases = try JSONValue(parsing: Data(contentsOf: output)).array ?? []
            #expect(cases.count > 100)
            for item in cases { self.compare(item) }
        }
    }

    private func compare(_ item: JSONValue) {
        let name = Comment(rawValue: item["name"]?.string ?? "")
        do {
            let template = try ChatTemplate(item["template"]?.string ?? "")
            do {
                let text = try template.render(item["variables"]?.object ?? [:])
                #expect(item["text"]?.string.map { Array($0.utf8) } == Array(text.utf8), name)
            } catch {
                #expect(item["text"] == nil, "\(name): \(error)")
                #expect(error.isRaised == (item["raised"] != nil), name)
                if let raised = item["raised"]?.string { #expect(error.description == raised, name) }
            }
        } catch {
            // What cannot work is found out when the template is read, where Jinja finds it when it runs.
            #expect(item["text"] == nil, "\(name): \(error)")
        }
    }
}

@Suite("Chat templates")
struct ChatTemplateTests {
    @Test(
        "what is not supported is named with its place",
        arguments: [
            ("a\n  {% include 'x' %}", "the statement 'include', which is not supported at line 2, column 6"),
            ("{{ x | nonsense }}", "a filter that is not supported at line 1, column 8"),
            ("{{ x is nonsense }}", "a test that is not supported at line 1, column 9"),
            ("{{ x.update({}) }}", "a call of the method 'update', which is not supported, at line 1, column 12"),
            ("{{ cycler() }}", "a call of 'cycler', which is not supported, at line 1, column 10"),
            ("{% for x in y recursive %}{% endfor %}", "a recursive loop"),
            ("{% if x %}", "a block without 'elif' or 'else' or 'endif'"),
            ("{% endif %}", "the statement 'endif'"),
            ("{{ x", "a tag without end"), ("{# x", "a comment without end"), ("{{ 'x }}", "a string without end"),
            ("{{ 2 ** 3 }}", "a power"), ("{{ x ? }}", "an unexpected '?' at line 1, column 6"),
            (
                "{{ " + String(repeating: "(", count: 500) + "x" + String(repeating: ")", count: 500) + " }}",
                "too deep a nesting"
            ),
            ("{{ " + String(repeating: "not ", count: 500) + "x }}", "too deep a nesting"),
            ("{{ f(*x) }}", "a call of 'f'"), ("{{ range(*x) }}", "spread arguments"),
        ]
    )
    func unsupported(template: String, message: String) {
        let error = #expect(throws: TokenizationError.self) { try ChatTemplate(template) }
        #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
    }

    @Test(
        "what a template cannot do at its run is an error, not a crash",
        arguments: [
            ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself too often"),
            ("{{ range(1000000) }}", "a range is too long"), ("{{ 9223372036854775807 + 1 }}", "too large"),
            ("{{ 'x' * 100000000 }}", "too long"), ("{{ -9223372036854775807 - 2 }}", "too large"),
            ("{% set a, b = [1] %}", "1 values cannot be set to 2 names"),
            ("{% set x.y = 1 %}", "only if 'x' is a namespace"),
            ("{{ [1][::0] }}", "the step of a slice is zero"), ("{{ raise_exception('no') }}", "no"),
        ]
    )
    func failures(template: String, message: String) throws {
        let template = try ChatTemplate(template)
        let error = #expect(throws: ChatTemplate.Failure.self) { try template.render(["x": [:]]) }
        #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
    }

    @Test("the time is the local one")
    func time() throws {
        let year = try ChatTemplate("{{ strftime_now('%Y') }}").render([:])
        #expect((Int(year) ?? 0) >= 2024)
    }
}
