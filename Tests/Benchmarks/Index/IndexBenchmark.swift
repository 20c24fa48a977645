import KVRouter

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Memory and speed of the index, as a table: how they grow with workers and blocks.
///
///     index-benchmark [blocks,... [workers,...]]
@main
enum IndexBenchmark {
    /// A prompt of 8192 tokens in blocks of 16.
    private static let promptBlocks = 512
    private static let lookups = 5000

    static func main() {
        let arguments = CommandLine.arguments.dropFirst().map { $0.split(separator: ",").compactMap { Int($0) } }
        let blockCounts = arguments.first ?? [100_000, 1_000_000, 10_000_000]
        let workerCounts = arguments.dropFirst().first ?? [1, 16, 256]
        print(
            "blocks,workers,bytes_per_block,blocks_applied_per_s,apply_p99_us,lookups_per_s,lookup_p50_us,lookup_p99_us,"
                + "lookup_max_us,mean_overlap"
        )
        for blocks in blockCounts { for workers in workerCounts { self.row(blocks: blocks, workers: workers) } }
    }

    /// Every worker holds as many blocks as the others: prompts of 512 blocks, the first 64 of which all workers share in
    /// one of 16 system prompts.
    private static func row(blocks: Int, workers: Int) {
        let before = self.residentBytes()
        let index = KVIndexer(numbering: .ignored)
        let clock = ContinuousClock()
        var prompts: [UInt64] = []
        var applied = 0
        var times: [Duration] = []
        let began = clock.now
        while applied < blocks {
            let number = UInt64(prompts.count)
            let worker = number % UInt64(workers)
            let tokens = self.tokens(number)
            let hashes = BlockHashing.chained(tokens)
            let stored = zip(hashes, tokens).map { StoredBlock(block: $0, tokens: $1) }
            // Engines publish a few blocks at a time.
            for start in stride(from: 0, to: stored.count, by: 8) {
                let change = KVEvent.Change.stored(
                    parent: start == 0 ? nil : hashes[start - 1],
                    blocks: Array(stored[start..<start + 8])
                )
                let event = RouterEvent(worker: worker, event: KVEvent(id: 0, change: change))
                times.append(clock.measure { _ = index.apply(event) })
            }
            prompts.append(number)
            applied = prompts.count * (self.promptBlocks - 64) + min(prompts.count, 16 * workers) * 64
        }
        let applying = clock.now - began
        let applyP99 = self.quantile(&times, 0.99)
        let held = index.blockCounts.values.reduce(0, +)
        times = []
        let memory = self.residentBytes() - before

        var overlap = 0
        for number in 0..<self.lookups {
            let tokens = self.tokens(prompts[Int(self.mixed(UInt64(number)) % UInt64(prompts.count))])
            times.append(clock.measure { overlap += index.matches(tokens).values.map(\.blocks).max() ?? 0 })
        }
        let total = times.reduce(.zero, +)
        print(
            "\(held),\(workers),\(memory / held),\(Int(Double(held) / self.seconds(applying))),\(applyP99),"
                + "\(Int(Double(self.lookups) / self.seconds(total))),\(self.quantile(&times, 0.5)),"
                + "\(self.quantile(&times, 0.99)),\(self.quantile(&times, 1)),\(overlap / self.lookups)"
        )
        fflush(nil)
    }

    private static func tokens(_ prompt: UInt64) -> [TokensHash] {
        (0..<UInt64(self.promptBlocks)).map { block in
            let text = block < 64 ? self.mixed(prompt) % 16 : prompt + 1000
            return TokensHash(rawValue: self.mixed(text << 16 | block))
        }
    }

    private static func mixed(_ number: UInt64) -> UInt64 {
        var word = (number &+ 0x9E37_79B9_7F4A_7C15) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    /// Microseconds.
    private static func quantile(_ times: inout [Duration], _ share: Double) -> Int {
        times.sort()
        return Int(self.seconds(times[min(times.count - 1, Int(Double(times.count) * share))]) * 1e6)
    }

    private static func seconds(_ duration: Duration) -> Double { duration / .seconds(1) }

    private static func residentBytes() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        guard fgets(&line, 256, file) != nil else { return 0 }
        let fields = line.prefix { $0 != 0 }.map { Character(UnicodeScalar(UInt8(bitPattern: $0))) }.split(
            separator: " "
        )
        return (fields.dropFirst().first.flatMap { Int(String($0)) } ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}
