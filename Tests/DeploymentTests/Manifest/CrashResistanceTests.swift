import Testing

@testable import Deployment

/// Manifests that were damaged at random either load or say why not; nothing crashes or hangs.
@Suite struct CrashResistanceTests {
    private static let folder = "Tests/DeploymentTests/BadManifests"

    @Test func survivesDamagedManifests() throws {
        var random = SplitMix(state: 0x5EED)
        var sources = try ["embedded", "mocker", "agg_request_planes"].map { try Fixtures.bytes("launch/\($0).yaml") }
        sources.append(Array(try DocumentationTests.example().utf8))
        let bad = try Fixtures.names(in: Self.folder, ending: "yaml")
        for name in bad where name != "parser-depth-limit" {
            sources.append(try Fixtures.bytes("\(Self.folder)/\(name).yaml"))
        }
        var failures = 0
        for round in 0..<5000 {
            var bytes = sources[round < 2000 ? round % 4 : Int.random(in: 0..<sources.count, using: &random)]
            for _ in 0..<Int.random(in: 1...4, using: &random) { Self.damage(&bytes, &random) }
            var damaged = ManifestCase(path: "damaged.yaml", bytes: bytes)
            damaged.environment["MODEL_PATH"] = "/models/tiny"
            do throws(ManifestErrors) {
                let plan = try damaged.plan()
                #expect(!plan.rendered().isEmpty)
            } catch {
                failures += 1
                #expect(!error.diagnostics.isEmpty)
                for diagnostic in error.diagnostics {
                    #expect(!diagnostic.message.isEmpty && diagnostic.line >= 0 && diagnostic.column >= 0)
                }
            }
        }
        #expect(failures > 1500)
    }

    @Test func survivesDeepNestingOfEveryKind() {
        let depths = [50, 900, 20000]
        for depth in depths {
            let texts = [
                "name: " + String(repeating: "[", count: depth),
                "name: " + String(repeating: "{a: ", count: depth),
                String(repeating: "- ", count: depth) + "a",
                String(repeating: "? ", count: depth) + "a",
                (0..<min(depth, 2000)).map { String(repeating: " ", count: $0) + "a:\n" }.joined(),
                "name: \"{{" + String(repeating: "(", count: depth) + "1\"",
                "model: \"" + String(repeating: "${A:-", count: depth) + String(repeating: "}", count: depth) + "\"",
            ]
            for text in texts {
                #expect(!ManifestCase(text).errors.isEmpty)
            }
        }
    }

    /// What would take for ever, or more stack than there is, if it were done without a limit.
    @Test func survivesLongTexts() {
        let long = 40_000
        let values = [
            String(repeating: "a", count: long), String(repeating: "a-", count: long / 2),
            String(repeating: "a.", count: long / 2),
            "{{1" + String(repeating: "+1", count: long / 2) + "}}", "{{" + String(repeating: "-", count: long) + "1}}",
            String(repeating: "{{index}}", count: long / 9), String(repeating: "${HOME}", count: long / 7),
            String(repeating: "(", count: long), String(repeating: "9", count: long),
            String(repeating: "é", count: long / 2),
        ]
        let keys = [
            "name", "namespace", "model", "planes", "discovery", "device", "inherit", "passthrough", "survive", "unset",
            "env",
            "http",
        ]
        for value in values {
            for key in keys {
                let text = "name: demo\n\(key): \"\(value)\"\nprocesses: {f: {builtin: frontend}}\n"
                _ = ManifestCase(text).errors
            }
            for key in ManifestKey.process {
                _ = ManifestCase("name: demo\nprocesses:\n  f:\n    \(key): \"\(value)\"\n").errors
                _ =
                    ManifestCase("name: demo\nprocesses:\n  f:\n    builtin: frontend\n    \(key): [\"\(value)\"]\n")
                    .errors
            }
            _ =
                ManifestCase("name: demo\nprocesses: {f: {builtin: frontend, probes: {health: {log: \"\(value)\"}}}}\n")
                .errors
            _ = ManifestCase("name: demo\nprocesses: {f: {builtin: frontend, ports: {http: \"\(value)\"}}}\n").errors
        }
    }

    @Test func survivesManyEntries() {
        let many = 12000
        let keys = (0..<many).map { "k\($0): 1" }.joined(separator: "\n")
        #expect(!ManifestCase("name: demo\n" + keys).errors.isEmpty)
        let processes = (0..<1000).map { "  w\($0): {role: worker, command: [sleep, 1], dependsOn: [w\($0 + 1)]}" }
            .joined(separator: "\n")
        #expect(!ManifestCase("name: demo\nprocesses:\n\(processes)\n").errors.isEmpty)
        let chain = processes.replacing("[w1000]", with: "[]")
        #expect(ManifestCase("name: demo\nprocesses:\n\(chain)\n").errors == "")
        let tooMany = (0..<1001).map { "  w\($0): {}" }.joined(separator: "\n")
        #expect(ManifestCase("name: demo\nprocesses:\n\(tooMany)\n").errors.contains("1001 processes are more than"))
        let text = "name: demo\nmodel: " + String(repeating: "x", count: ManifestSource.sizeLimit)
        #expect(ManifestCase(text).errors.contains("at most 262144 are read"))
    }

    private static func damage(_ bytes: inout [UInt8], _ random: inout SplitMix) {
        guard !bytes.isEmpty else { return }
        let index = Int.random(in: 0..<bytes.count, using: &random)
        let pieces = [
            "{{", "}}", "${", "$", "}", "\t", ": ", "- ", "&a ", "*a ", "!!int ", "\"", "'", "|\n", "[", "{", "\u{0}",
            "-1", "é", "\r", "#", "<<: ",
        ]
        switch Int.random(in: 0..<7, using: &random) {
        case 0: bytes.removeSubrange(index...)
        case 1: bytes[index] = UInt8.random(in: 0...255, using: &random)
        case 2:
            bytes.insert(contentsOf: Array(pieces[Int.random(in: 0..<pieces.count, using: &random)].utf8), at: index)
        case 3: bytes.remove(at: index)
        default:
            var lines = bytes.split(separator: 10, omittingEmptySubsequences: false).map(Array.init)
            let line = Int.random(in: 0..<lines.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: lines.remove(at: line)
            case 1: lines.insert(lines[line], at: line)
            case 2: lines.swapAt(line, Int.random(in: 0..<lines.count, using: &random))
            default: lines[line] = [32, 32] + lines[line]
            }
            bytes = Array(lines.joined(separator: [10]))
        }
    }
}

/// The same numbers in every run.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
