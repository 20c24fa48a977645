import Discovery
import Foundation
import TestSupport
import Testing
import Tokenization

/// What the real library makes of awkward texts, with a tokenizer of each kind that is supported.
@Suite("Tokenizers, beside the real library")
struct TokenizerPeerTests {
    @Test("ids, framed ids, text, and text as it streams are those of the real library")
    func corpus() async throws {
        try await withTemporaryDirectory { directory in
            let script = TestEnvironment.root.appending(path: "Tests/TokenizationTests/Fixtures/tokenize_corpus.py")
            let model = try TestEnvironment.model() + "/tokenizer.json"
            let run = try await withProgram(
                try TestEnvironment.python(.v121),
                [script.path(), directory.path(), model]
            ) { program in
                try await program.waitForExit(within: .seconds(60))
                return program.output
            }
            #expect(run.exit == .code(0), "\(run.value)")
            let folders = try FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)
            #expect(folders.count == 11)
            for folder in folders { try self.compare(folder) }
        }
    }

    private func compare(_ folder: URL) throws {
        let name = folder.lastPathComponent
        let tokenizer = try Tokenizer(parsing: [UInt8](Data(contentsOf: folder.appending(path: "tokenizer.json"))))
        let cases = try JSONValue(parsing: Data(contentsOf: folder.appending(path: "cases.json"))).array ?? []
        #expect(cases.count > 600)
        for item in cases {
            let ids = (item["ids"]?.array ?? []).compactMap { $0.int.map(UInt32.init) }
            if let text = item["text"]?.string {
                #expect(tokenizer.encode(text) == ids, "\(name): \(text.debugDescription)")
                let framed = tokenizer.encode(text, addsSpecialTokens: true).map { JSONValue($0) }
                #expect(framed == item["framed"]?.array, "\(name): \(text.debugDescription)")
            }
            for skips in [false, true] {
                // As bytes: texts that Swift finds equal may differ in them.
                let expected = (item[skips ? "plain" : "decoded"]?.string ?? "").utf8.map(\.self)
                let whole = tokenizer.decode(ids, skipsSpecialTokens: skips)
                #expect(Array(whole.utf8) == expected, "\(name): \(ids)")
                var detokenizer = Detokenizer(tokenizer, skipsSpecialTokens: skips)
                var streamed = ids.reduce(into: "") { $0 += detokenizer.append([$1]) }
                streamed += detokenizer.finish()
                #expect(Array(streamed.utf8) == expected, "\(name): \(ids)")
            }
        }
    }
}
