import ArgumentParser
import Discovery
import Foundation
import TestSupport
import Testing

@testable import dynamo_worker

@Suite("The model of the simulated engine")
struct MockModelTests {
    @Test("every byte has a character of its own; letters and a blank are as in GPT-2's vocabulary")
    func characters() {
        #expect(Set(ByteLevelModel.characters).count == 256)
        #expect(ByteLevelModel.characters[0x41] == "A")
        #expect(ByteLevelModel.characters[0x20] == "Ġ")
        #expect(ByteLevelModel.characters[0x0A] == "Ċ")
        #expect(ByteLevelModel.characters[0xAD] == "Ń")
    }

    @Test("the files are written once and are what the card says; another context has files of its own")
    func files() async throws {
        try await withTemporaryDirectory { directory in
            let model = try MockModel(contextLength: 4096, state: directory.path)
            let again = try MockModel(contextLength: 4096, state: directory.path)
            #expect(again.files == model.files)
            let other = try MockModel(contextLength: 2048, state: directory.path)
            #expect(other.files.config.path != model.files.config.path)
            for file in [model.files.config, model.files.tokenizer, model.files.tokenizerConfig] {
                let content = [UInt8](try Data(contentsOf: URL(filePath: file.path)))
                #expect(BLAKE3.hex(content) == file.hash)
                #expect(content.count == file.size)
            }
            let tokenizer = try JSONValue(parsing: Data(contentsOf: URL(filePath: model.files.tokenizer.path)))
            #expect(tokenizer["model"]?["vocab"]?.object?.members.count == ByteLevelModel.vocabularySize)
            let foreign = try MockModel(folder: (model.files.config.path as NSString).deletingLastPathComponent)
            #expect(foreign.vocabulary.count > 100)
        }
    }

    @Test("a folder without a model is an error that says what to do")
    func missing() async throws {
        try await withTemporaryDirectory { directory in
            let error = #expect(throws: MockModel.Failure.self) { try MockModel(folder: directory.path) }
            #expect(error?.description.contains("config.json cannot be read") == true)
        }
    }

    @Test(
        "command lines that cannot work",
        arguments: [
            (["--engine", "mok"], "did you mean 'mock'?"), (["--engine", "vllm"], "the engines are echo, mock"),
            (["--block-size", "16"], "--block-size is for --engine mock"),
            (["--engine", "mock", "--rate", "1"], "--rate is for --engine echo"),
            (["--engine", "mock", "--num-blocks", "0"], "--num-blocks is 0; it must be from 1"),
            (["--engine", "mock", "--speedup=-1"], "--speedup is -1.0; it must be 0 or"),
            (["--engine", "mock", "--max-batch", "9000"], "raise --max-batched-tokens"),
        ]
    )
    func commandLine(arguments: [String], message: String) {
        do {
            _ = try WorkerCommand.parse(arguments)
            Issue.record("accepted")
        } catch {
            #expect(WorkerCommand.fullMessage(for: error).contains(message), "\(WorkerCommand.fullMessage(for: error))")
        }
    }

    @Test("times follow speed and speedup")
    func times() throws {
        let options = try MockOptions.parse(["--decode-tokens-per-second", "50", "--speedup", "2"])
        #expect(options.engine(vocabulary: []).decodeTime == .milliseconds(10))
        #expect(options.engine(vocabulary: []).prefillTime == .microseconds(25))
        #expect(try MockOptions.parse(["--speedup", "0"]).engine(vocabulary: []).decodeTime == .zero)
    }
}
