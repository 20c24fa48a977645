import Deployment
import Testing

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
        for round in 0..<2000 {
            var bytes = sources[round < 1000 ? round % 4 : Int.random(in: 0..<sources.count, using: &random)]
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
        #expect(failures > 500)
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
