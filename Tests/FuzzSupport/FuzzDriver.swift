#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Feeds a target with inputs until a budget is spent.
///
/// Each input is made from one number, counted up from the first; that number is all that is needed to see the input again.
package enum FuzzDriver {
    /// How long to go on.
    package enum Budget: Sendable {
        case time(Duration)
        case inputs(Int)
    }

    /// What a run without findings says.
    package struct Report: Sendable, CustomStringConvertible {
        package let target: String
        package let inputs: Int
        package let elapsed: Duration

        package var description: String {
            let seconds = Double(self.elapsed.components.seconds) + Double(self.elapsed.components.attoseconds) * 1e-18
            let rate = seconds > 0 ? Int(Double(self.inputs) / seconds) : 0
            return "fuzz \(self.target): \(self.inputs) inputs in \(Int(seconds * 1000)) ms, \(rate) inputs/s"
        }
    }

    /// An input that breaks a rule.
    package struct Finding: Error, CustomStringConvertible {
        package let target: String
        package let seed: UInt64
        package let input: [UInt8]
        package let what: String

        package var description: String {
            let hex = self.input.map { byte in
                let digits = String(byte, radix: 16)
                return digits.utf8.count == 1 ? "0\(digits)" : digits
            }.joined()
            return """
                fuzz \(self.target): \(self.what)
                again with DYNAMO_FUZZ_SEED=\(self.seed) and DYNAMO_FUZZ_INPUTS=1; input: \(hex)
                """
        }
    }

    /// What the environment asks for: `DYNAMO_FUZZ_SECONDS` for each target (1), or `DYNAMO_FUZZ_INPUTS`; the first number is
    /// `DYNAMO_FUZZ_SEED` (1).
    package static func fromEnvironment(_ target: FuzzTarget) throws(Finding) -> Report {
        let seed = self.number("DYNAMO_FUZZ_SEED").map(UInt64.init) ?? 1
        if let inputs = self.number("DYNAMO_FUZZ_INPUTS") { return try self.run(target, .inputs(inputs), seed: seed) }
        return try self.run(target, .time(.seconds(self.number("DYNAMO_FUZZ_SECONDS") ?? 1)), seed: seed)
    }

    /// Runs a target.
    ///
    /// - Parameters:
    ///   - target: what is fed.
    ///   - budget: how long.
    ///   - seed: the number of the first input.
    /// - Returns: how much was done.
    /// - Throws: `Finding` with the first input that breaks a rule.
    package static func run(
        _ target: FuzzTarget,
        _ budget: Budget,
        seed: UInt64 = 1
    ) throws(Finding) -> Report {
        let start = ContinuousClock.now
        CrashNote.begin()
        defer { CrashNote.end() }
        var count = 0
        while true {
            switch budget {
            case .inputs(let limit): if count >= limit { return self.report(target, count, start) }
            case .time(let limit):
                // The clock is not read at each input.
                if count % 16 == 0, ContinuousClock.now - start >= limit { return self.report(target, count, start) }
            }
            let number = seed &+ UInt64(count)
            CrashNote.seed(number)
            var random = FuzzRandom(seed: number)
            let input = target.mutator.input(&random)
            do { try target.check(input, &random) } catch {
                throw Finding(target: target.name, seed: number, input: input, what: "\(error)")
            }
            count += 1
        }
    }

    private static func report(
        _ target: FuzzTarget,
        _ count: Int,
        _ start: ContinuousClock.Instant
    ) -> Report {
        Report(target: target.name, inputs: count, elapsed: ContinuousClock.now - start)
    }

    private static func number(_ name: String) -> Int? {
        guard let value = getenv(name) else { return nil }
        return Int(String(cString: value)).flatMap { $0 >= 0 ? $0 : nil }
    }
}
