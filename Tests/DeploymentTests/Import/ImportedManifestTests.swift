import Testing

@testable import Deployment

/// Scripts in the shapes that Dynamo's have, as manifests.
@Suite struct ImportedManifestTests {
    private static func script(_ name: String) throws -> String {
        try Fixtures.text("Tests/Fixtures/Scripts/\(name).sh")
    }

    private static func imported(_ name: String) throws -> ImportedManifest {
        try ImportedManifest(self.script(name), file: "\(name).sh")
    }

    /// What of a plan a script decides.
    private struct Started: Hashable, CustomStringConvertible {
        var description: String

        init(_ replica: ReplicaPlan, _ plan: Plan) {
            let environment = replica.environment.filter { $0.source == .manifest }.map { "\($0.name)=\($0.value)" }
            let system = replica.ports.first { $0.name == "system" && !$0.leased }.map { " on \($0.port)" } ?? ""
            let waits = replica.dependencies.map { " after \($0.process): \($0.layer.rawValue)" }.joined()
            self.description =
                ([replica.executable] + replica.arguments).joined(separator: " ") + " | "
                + environment.joined(separator: " ")
                + " | " + replica.gpus.joined(separator: ",") + system + waits
        }
    }

    private static func started(_ manifest: ManifestCase) throws -> [Started] {
        var manifest = manifest
        manifest.environment["GPU_MEM_FRACTION"] = "0.45"
        manifest.environment["PROMETHEUS_MULTIPROC_DIR"] = "/tmp/metrics"
        let plan = try manifest.plan()
        for replica in plan.replicas where manifest.path.contains("options") || manifest.path.contains("lmcache") {
            #expect(!replica.environment.contains { $0.name == "PROMETHEUS_MULTIPROC_DIR" })
        }
        return plan.replicas.map { Started($0, plan) }
    }

    @Test(
        arguments: [
            ("planes", "agg_request_planes", []), ("two_workers", "agg_router", []), ("ranks", "dep", []),
            ("one_gpu", "disagg_same_gpu", []), ("options", "agg_lmcache", ["--max-model-len", "100"]),
        ] as [(String, String, [String])]
    )
    func startsWhatTheManifestOfOursStarts(_ name: String, _ manifest: String, _ arguments: [String]) throws {
        let imported = try Self.imported(name)
        var first = ManifestCase(imported.text, path: "\(name).yaml")
        var second = ManifestCase(path: "launch/\(manifest).yaml", bytes: try Fixtures.bytes("launch/\(manifest).yaml"))
        first.arguments = arguments
        second.arguments = arguments
        #expect(try Self.started(first) == Self.started(second), "\(imported.text)")
        #expect(imported.processes == (try second.plan().replicas.count))
    }

    private static func lines(_ manifest: ImportedManifest, _ kind: ScriptFinding.Kind) -> [String] {
        manifest.findings.filter { $0.kind == kind }.map { "\($0.line): \($0.message)" }
    }

    @Test func saysWhatItCouldNotCarryOver() throws {
        #expect(try Self.lines(Self.imported("planes"), .lost) == [])
        #expect(try Self.lines(Self.imported("two_workers"), .lost) == [])
        #expect(try Self.lines(Self.imported("ranks"), .lost) == [])
        #expect(
            try Self.lines(Self.imported("one_gpu"), .lost) == [
                "4: a condition is known only when the script runs: what stands under it is left out",
                "23: GPU_MEM_FRACTION is known only when the script runs (line 9): the manifest takes it from the shell",
                "31: GPU_MEM_FRACTION is known only when the script runs (line 9): the manifest takes it from the shell",
            ]
        )
        #expect(
            try Self.lines(Self.imported("options"), .lost) == [
                "4: 'source' of another file is not followed",
                "11: the option --model of the script: the manifest has what holds without it ('--set' changes it)",
                "28: what depends on ${DYN_DEVICE:-cuda} is as it is when nobody sets that variable",
                "34: 'print_banner' is not understood and left out",
            ]
        )
    }

    @Test func nothingIsSilentlyDropped() throws {
        let imported = try Self.imported("strange")
        #expect(
            Self.lines(imported, .lost) == [
                "3: 'docker' is not understood and left out",
                "4: a loop whose end is known only when the script runs: what stands in it is left out",
                "7: '((count++))' is not understood",
                "8: what goes through '|' is not followed: the launcher keeps the output of each process in a file",
                "10: what 'for model' goes through is known only when the script runs",
                "13: a condition is known only when the script runs: what stands under it is left out",
                "17: '${NAME%...}' is known only when the script runs",
                "18: DYN_REQUEST_PLANE is 'tcp' here and 'nats' in line 17: the manifest has the latter",
                "19: the script goes on when this process has ended; the manifest starts what follows beside it",
                "21: 'python3 -m ${MODULE:-}' is no module of Dynamo's that is known without running the script: left out",
            ]
        )
        #expect(imported.text.contains("# line 3: 'docker' is not understood and left out\n"))
        #expect(imported.processes == 5)
        #expect(imported.text.contains("http:\n  port: 8200\n"))
        #expect(imported.text.contains("planes: {request: nats}"))
        #expect(imported.text.contains("workingDirectory: /tmp"))
        #expect(Self.lines(imported, .note).contains { $0.hasPrefix("17: output to 'worker.log'") })
        #expect(Self.lines(imported, .note).contains { $0.hasPrefix("22: 'nats-server'") })
        // What is not known is asked for.
        var planned = ManifestCase(imported.text)
        #expect(planned.errors.contains("the variable 'IMPORT_LINE_17' is not set: see line 17 of strange.sh"))
        planned.environment["IMPORT_LINE_17"] = "tiny"
        #expect(planned.errors == "")
    }

    @Test func whatLeavesAFunctionOrALoopIsNamed() throws {
        let script = """
            start() {
                python3 -m dynamo.vllm --model "$1" &
                return
            }
            start tiny
            for i in 0 1; do
                break
            done
            python3 -m dynamo.frontend
            """
        let lost = Self.lines(try ImportedManifest(script, file: "x.sh"), .lost)
        #expect(lost.contains("5: the arguments of function 'start' are not followed: in it $1 and so on are empty"))
        #expect(lost.contains("3: 'return' is not followed: what stands after it is read too"), "\(lost)")
        #expect(lost.contains("7: 'break' is not followed: what stands after it is read too"), "\(lost)")
    }

    @Test func nestingAndLengthTakeNoStack() throws {
        let worker = "python3 -m dynamo.mocker --model-path /m &\npython3 -m dynamo.frontend"
        let signs = String(repeating: "- ", count: 20_000)
        let parentheses = String(repeating: "(", count: 20_000)
        let deep = """
            even=$((\(signs)7))
            deep=$((\(parentheses)1\(String(repeating: ")", count: 20_000))))
            if [[ \(String(repeating: "! ", count: 20_000))a = a ]]; then cd /negated; fi
            if [[ \(String(repeating: "a = a && ", count: 20_000))a = b ]]; then cd /all; fi
            if [[ \(String(repeating: "a = b || ", count: 20_000))a = a ]]; then export PORT=$even; fi
            \(worker) --http-port $PORT
            """
        let imported = try ImportedManifest(deep, file: "deep.sh")
        #expect(imported.processes == 2)
        #expect(imported.text.contains("workingDirectory: /negated") && imported.text.contains("port: 7\n"))
        #expect(!imported.text.contains("/all"))
    }

    @Test func notesWhatTheLauncherDoesItself() throws {
        let notes = try Self.lines(Self.imported("planes"), .note)
        #expect(notes.contains { $0.hasPrefix("4: 'trap'") })
        #expect(notes.contains { $0.hasPrefix("9: --tcp: a flag of dynamo-launch's own") })
        #expect(try Self.lines(Self.imported("one_gpu"), .note).contains { $0.hasPrefix("29: 'sleep'") })
    }

    @Test func secretsAreNotWritten() throws {
        let script = """
            export HF_TOKEN=hf_abcdefghijklmnop
            export NGC_API_KEY="${NGC_API_KEY:-}"
            export HF_HOME=/models
            python -m dynamo.frontend &
            python -m dynamo.mocker --model-path /models/a
            """
        let imported = try ImportedManifest(script, file: "x.sh")
        #expect(!imported.text.contains("hf_abc"), "\(imported.text)")
        #expect(imported.text.contains("HF_TOKEN: '${HF_TOKEN}'\n"), "\(imported.text)")
        #expect(imported.text.contains("HF_HOME: /models\n"), "\(imported.text)")
        let notes = Self.lines(imported, .note).filter { $0.contains("secret") }
        #expect(notes == ["4: HF_TOKEN is a secret and not written: it must be set where 'up' is called"])
    }

    @Test(arguments: [
        ("if true; then", "line 1: the script ends, and 'fi' is missing"), ("echo 'a", "line 1: a ''' is missing"),
        ("a=(1", "line 1: ')' of the list of 'a' is missing"),
        ("cat <<END\nx", "line 2: the script ends, and 'END' is missing"),
        ("x=${a", "line 1: '}' of '${a' is missing"), ("done", "line 1: 'done' is not expected here"),
        ("echo $(ls", "line 1: ')' of '$(' is missing"), ("| a", "line 1: '|' is not expected here"),
    ])
    func refusesWhatIsNoScript(_ text: String, _ message: String) {
        #expect(throws: ShellSyntaxError.self) { try ImportedManifest(text, file: "x.sh") }
        do throws(ShellSyntaxError) { _ = try ImportedManifest(text, file: "x.sh") } catch {
            #expect("\(error)" == message)
        }
    }

    @Test func noTextMakesItCrash() throws {
        let texts = try ["planes", "two_workers", "ranks", "one_gpu", "options", "strange"].map {
            Array(try Self.script($0))
        }
        for text in texts {
            for cut in stride(from: 0, to: text.count, by: 41) {
                _ = try? ImportedManifest(String(text[..<cut]), file: "x.sh")
                _ = try? ImportedManifest(String(text[..<cut] + text[min(text.count, cut + 3)...]), file: "x.sh")
            }
        }
        _ = try? ImportedManifest(String(repeating: "(", count: 100_000), file: "x.sh")
        _ = try? ImportedManifest(String(repeating: "${a:-", count: 100), file: "x.sh")
    }

    @Test(
        arguments: [
            (["8081", "8082"], "{{8081 + index}}"), (["0", "1", "2"], "{{index}}"), (["a", "a"], "a"),
            (["5560", "5559"], "{{5560 - index}}"),
            (["tcp://*:56001", "tcp://*:56003"], "tcp://*:{{56001 + 2 * index}}"), (["1", "3", "4"], nil),
            (["0.4", "0.5"], nil),
            (["a", "b"], nil), (["${PORT1:-1}", "${PORT2:-2}"], nil), (["01", "02"], nil),
        ] as [([String], String?)]
    )
    func countsUp(_ texts: [String], _ expected: String?) {
        #expect(ScriptedReplicas.counted(texts) == expected)
    }
}
