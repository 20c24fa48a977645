import ArgumentParser
import DynamoRuntime
import KVRouter

/// The options of `--engine mock`.
struct MockOptions: ParsableArguments {
    @Option(help: "Tokens of a block of the KV cache. (default: 16)")
    var blockSize: Int?

    @Option(help: "Blocks that fit into the KV cache. (default: 4096)")
    var numBlocks: Int?

    @Option(help: "The most requests that run at once. (default: 256)")
    var maxBatch: Int?

    @Option(help: "The most tokens of prompts and answers in one step. (default: 8192)")
    var maxBatchedTokens: Int?

    @Option(help: "How fast prompts are computed; cached blocks cost nothing. (default: 20000)")
    var prefillTokensPerSecond: Double?

    @Option(help: "How fast each answer comes. (default: 100)")
    var decodeTokensPerSecond: Double?

    @Option(help: "Makes simulated time pass that many times as fast; 0 lets none pass. (default: 1)")
    var speedup: Double?

    @Option(help: "Tokens of an answer whose request does not limit it. (default: 64)")
    var answerTokens: Int?

    @Option(help: "Another seed gives other answers; the same prompt and seed give the same. (default: 0)")
    var seed: UInt64?

    @Option(
        help: """
            A folder with a model in Hugging Face's form, whose tokenizer frontends use. (default: a byte-level tokenizer, \
            written below XDG_STATE_HOME)
            """,
        completion: .directory
    )
    var modelPath: String?

    @Option(
        name: .customLong("disaggregation-mode"),
        help: """
            What of the work the worker does: agg (everything), prefill (prompts, whose blocks others take) or decode (answers to prompts \
            that others have processed). (default: agg)
            """,
        completion: .list(["agg", "prefill", "decode"]),
        transform: MockOptions.role
    )
    var role: PoolRole?

    /// Reads a mode by the name that Dynamo's mock engine has for it, or by that of the part of a deployment.
    private static func role(_ text: String) throws -> PoolRole {
        switch text.lowercased() {
        case "agg", "aggregated", "both": return .aggregated
        case "prefill": return .prefill
        case "decode": return .decode
        default:
            let hint =
                NearestWord.to(text, among: ["agg", "prefill", "decode"]).map { "; did you mean '\($0)'?" } ?? ""
            throw ValidationError("'\(text)' is no disaggregation mode; write agg, prefill or decode\(hint)")
        }
    }

    /// The names of the options that were given.
    var given: [String] {
        let all: [(String, Bool)] = [
            ("--block-size", self.blockSize != nil), ("--num-blocks", self.numBlocks != nil),
            ("--max-batch", self.maxBatch != nil), ("--max-batched-tokens", self.maxBatchedTokens != nil),
            ("--prefill-tokens-per-second", self.prefillTokensPerSecond != nil),
            ("--decode-tokens-per-second", self.decodeTokensPerSecond != nil), ("--speedup", self.speedup != nil),
            ("--answer-tokens", self.answerTokens != nil), ("--seed", self.seed != nil),
            ("--model-path", self.modelPath != nil), ("--disaggregation-mode", self.role != nil),
        ]
        return all.filter(\.1).map(\.0)
    }

    func validate() throws {
        let counts: [(String, Int?, ClosedRange<Int>)] = [
            ("--block-size", self.blockSize, 1...65_536), ("--num-blocks", self.numBlocks, 1...100_000_000),
            ("--max-batch", self.maxBatch, 1...1_000_000),
            ("--max-batched-tokens", self.maxBatchedTokens, 1...100_000_000),
            ("--answer-tokens", self.answerTokens, 1...100_000_000),
        ]
        for case (let flag, let value?, let range) in counts where !range.contains(value) {
            throw ValidationError("\(flag) is \(value); it must be from \(range.lowerBound) to \(range.upperBound)")
        }
        let rates: [(String, Double?)] = [
            ("--prefill-tokens-per-second", self.prefillTokensPerSecond),
            ("--decode-tokens-per-second", self.decodeTokensPerSecond),
        ]
        for case (let flag, let value?) in rates where !(0.001...1e9).contains(value) {
            throw ValidationError("\(flag) is \(value); it must be a number from 0.001 to 1000000000")
        }
        if let speedup = self.speedup, !(speedup == 0 || (0.001...1e6).contains(speedup)) {
            throw ValidationError("--speedup is \(speedup); it must be 0 or a number from 0.001 to 1000000")
        }
        let engine = self.engine(vocabulary: [])
        guard engine.maxBatch <= engine.maxBatchedTokens else {
            throw ValidationError(
                """
                --max-batch is \(engine.maxBatch), more than the \(engine.maxBatchedTokens) tokens of a step; lower it, or \
                raise --max-batched-tokens
                """
            )
        }
    }

    /// The engine with these options, its answers made of these tokens.
    func engine(vocabulary: [UInt32]) -> MockEngine.Configuration {
        var engine = MockEngine.Configuration()
        engine.blockSize = self.blockSize ?? engine.blockSize
        engine.blocks = self.numBlocks ?? engine.blocks
        engine.maxBatch = self.maxBatch ?? engine.maxBatch
        engine.maxBatchedTokens = self.maxBatchedTokens ?? engine.maxBatchedTokens
        engine.seed = self.seed ?? engine.seed
        engine.vocabulary = vocabulary
        let speedup = self.speedup ?? 1
        let time: (Double) -> Duration = { speedup == 0 ? .zero : .seconds(1 / ($0 * speedup)) }
        engine.prefillTime = time(self.prefillTokensPerSecond ?? 20_000)
        engine.decodeTime = time(self.decodeTokensPerSecond ?? 100)
        return engine
    }
}
