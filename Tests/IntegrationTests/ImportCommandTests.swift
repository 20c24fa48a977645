import Foundation
import TestSupport
import Testing

/// `dynamo-launch import`, as it is called.
@Suite struct ImportCommandTests {
    private static func script(_ name: String) -> String {
        TestEnvironment.root.appending(path: "Tests/Fixtures/Scripts/\(name).sh").path()
    }

    @Test func `a script becomes a manifest that is checked`() async throws {
        try await withTemporaryDirectory { directory in
            let script = directory.appending(path: "two.sh").path()
            let file = directory.appending(path: "two.yaml").path()
            let text = """
                PORT=${PORT:-8000}
                dynamo-frontend --http-port $PORT &
                for i in 1 2; do DYN_SYSTEM_PORT=$((9080 + i)) dynamo-worker --engine echo --model-name echo & done
                wait

                """
            try Data(text.utf8).write(to: URL(filePath: script))
            let written = try await Launcher.run(["import", "--strict", "--write", file, script])
            #expect(written.exit == .code(0), "\(written.output)")
            #expect(written.output.contains("\(script):4: note: 'wait'"), "\(written.output)")
            #expect(written.output.contains("3 processes, 0 things not carried over; written to \(file)"))
            let check = try await Launcher.run(["check", file], environment: ["DYN_SYSTEM_PORT": nil])
            #expect(check.exit == .code(0) && check.output.contains("deployment two, 3 processes"), "\(check.output)")
            #expect(try String(contentsOfFile: file, encoding: .utf8).contains("replicas: 2"))
            let again = try await Launcher.run(["import", "--write", file, script])
            #expect(again.exit == .code(1) && again.output.contains("exists already"))
        }
    }

    @Test func `what is lost is named with its line, and strict ends with 1`() async throws {
        let script = Self.script("one_gpu")
        for (flags, code) in [([], 0), (["--strict"], 1)] as [([String], Int32)] {
            let (output, exit) = try await Launcher.run(["import", script] + flags)
            #expect(exit == .code(code), "\(output)")
            #expect(output.contains("\(script):23: lost: GPU_MEM_FRACTION is known only when the script runs (line 9)"))
            #expect(output.contains("name: one-gpu\n"))
        }
        let (json, _) = try await Launcher.run(["import", "--json", script, Self.script("planes")])
        let object = try #require(JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
        let scripts = try #require(object["scripts"] as? [[String: Any]])
        #expect(scripts.map { $0["name"] as? String } == ["one-gpu", "planes"])
        #expect(scripts.map { $0["processes"] as? Int } == [3, 2])
    }

    @Test(arguments: [
        ("exit 0\n", "starts no frontend"),
        ("if true; then\n", "two.sh:2: error: the script ends, and 'fi' is missing"),
    ])
    func `what is no launch script is refused`(text: String, message: String) async throws {
        try await withTemporaryDirectory { directory in
            let script = directory.appending(path: "two.sh")
            try Data(text.utf8).write(to: script)
            let (output, exit) = try await Launcher.run(["import", script.path()])
            #expect(exit == .code(1))
            #expect(output.contains(message), "\(output)")
        }
        let missing = try await Launcher.run(["import", "/nonexistent.sh"])
        #expect(missing.exit == .code(1) && missing.output.contains("'/nonexistent.sh' cannot be read"))
    }
}
