import Foundation
import TestSupport
import Testing

@testable import Deployment

/// What is said to belong to a release is looked up in the package of that release.
@Suite struct ReleaseFeatureTests {
    /// The Python of one release, by component, without the spaces.
    private struct Package {
        let root: URL
        private var texts: [String: String] = [:]

        init(_ peer: TestEnvironment.DynamoPeer) throws {
            let environment = URL(filePath: try TestEnvironment.python(peer)).deletingLastPathComponent()
                .deletingLastPathComponent()
            let versions = environment.appending(path: "lib")
            let version = try #require(
                FileManager.default.contentsOfDirectory(atPath: versions.path()).first { $0.hasPrefix("python3") }
            )
            self.root = versions.appending(path: "\(version)/site-packages/dynamo")
        }

        mutating func text(_ folder: String) throws -> String {
            if let known = self.texts[folder] { return known }
            let place = self.root.appending(path: folder)
            let paths = try FileManager.default.subpathsOfDirectory(atPath: place.path())
            var text = ""
            for path in paths where path.hasSuffix(".py") && !path.contains("test") {
                text += try String(contentsOf: place.appending(path: path), encoding: .utf8).filter { !$0.isWhitespace }
            }
            self.texts[folder] = text
            return text
        }

        mutating func has(_ feature: ReleaseFeature) throws -> Bool {
            let components = feature.component.map { [$0] } ?? ["frontend", "router", "mocker", "vllm"]
            let folders = components + ["common/configuration"]
            switch feature.kind {
            case .flag(let flag):
                let definitions = ["flag_name=", "obsolete_flag=", "add_argument("].map { "\($0)\"\(flag)\"" }
                return try folders.contains { folder in
                    let text = try self.text(folder)
                    return definitions.contains { text.contains($0) }
                }
            case .module(let name):
                return components.contains { component in
                    let file = self.root.appending(path: "\(component)/\(name).py")
                    return FileManager.default.fileExists(atPath: file.path())
                }
            case .variable(let name):
                return try folders.contains { try self.text($0).contains("\"\(name)\"") }
            }
        }
    }

    @Test(arguments: [(TestEnvironment.DynamoPeer.v121, "1.2.1"), (.v161, "1.6.1")])
    func everyFeatureIsWhereItIsSaidToBe(_ peer: TestEnvironment.DynamoPeer, _ text: String) throws {
        var package = try Package(peer)
        let release = try #require(DynamoRelease(text))
        #expect(ReleaseFeature.all.count >= 50)
        for feature in ReleaseFeature.all {
            let isRefused = feature.kind == .flag("--connector") || feature.kind == .variable("DYN_CONNECTOR")
            // Its parser knows these, and the worker ends when it is given one.
            let expected = isRefused || feature.exists(in: release)
            #expect(try package.has(feature) == expected, "\(feature.kind) of \(feature.component ?? "any") in \(text)")
        }
        #expect(try package.text("vllm").contains("TheDYN_CONNECTORenvironmentvariableisnolongersupported"))
        #expect(
            try package.text("vllm").contains(
                "dynamo_config.disaggregation_mode==DisaggregationMode.PREFILLandnothas_kv_transfer_config"
            )
        )
    }

    @Test(arguments: [(TestEnvironment.DynamoPeer.v121, "1.2.1"), (.v161, "1.6.1")])
    func planesAreThoseThatTheFrontendTakes(_ peer: TestEnvironment.DynamoPeer, _ text: String) throws {
        var package = try Package(peer)
        let row = ReleaseKnowledge.row(for: try #require(DynamoRelease(text))).row
        let frontend = try package.text("frontend")
        func choices(_ flag: String) throws -> Set<String> {
            guard let place = frontend.firstRange(of: "flag_name=\"\(flag)\"") else { return [] }
            let rest = frontend[place.upperBound...]
            let begin = try #require(rest.firstRange(of: "choices=["))
            let list = rest[begin.upperBound...].prefix { $0 != "]" }
            return Set(list.split(separator: ",").map { $0.filter { $0 != "\"" } })
        }
        #expect(try choices("--request-plane") == Set(row.requestPlanes.map(\.rawValue)))
        let responses = try choices("--response-plane")
        #expect((responses.isEmpty ? ["tcp"] : responses) == Set(row.responsePlanes.map(\.rawValue)))
    }

    /// Prints the flags of the parser that a module makes, and ends before anything else is done.
    private static let flagsOfModule = """
        import argparse, os, runpy, sys
        def show(parser, *_, **__):
            flags = {o for a in parser._actions for o in a.option_strings if o.startswith('--')}
            print('flags ' + ' '.join(sorted(flags)), flush=True)
            os._exit(0)
        argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_known_args = show
        module = sys.argv[1]
        sys.argv = [module]
        runpy.run_module(module, run_name='__main__', alter_sys=True)
        """

    @Test(
        arguments: [(TestEnvironment.DynamoPeer.v121, "1.2.1"), (.v161, "1.6.1")],
        ["frontend", "mocker", "router"]
    )
    func flagsAreThoseOfTheParser(_ peer: (TestEnvironment.DynamoPeer, String), _ component: String) async throws {
        try await withTemporaryDirectory { directory in
            let (output, _) = try await withProgram(
                try TestEnvironment.python(peer.0),
                ["-c", Self.flagsOfModule, "dynamo.\(component)"],
                environment: [
                    "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": directory.path(), "DYN_REQUEST_PLANE": "tcp",
                    "DYN_EVENT_PLANE": "zmq",
                ]
            ) { program in
                try await program.waitForExit(within: .seconds(60))
                return program.output
            }
            let line = try #require(output.split(separator: "\n").first { $0.hasPrefix("flags ") }, "\(output)")
            let release = try #require(DynamoRelease(peer.1))
            #expect(
                KnownFlags.flags(of: component, in: release)
                    == Set(line.split(separator: " ").dropFirst().map(String.init))
            )
        }
    }

    @Test(arguments: ProcessManifest.Builtin.allCases)
    func flagsOfOurProgramsAreKnown(_ builtin: ProcessManifest.Builtin) async throws {
        let program = TestEnvironment.products.appending(path: builtin.program).path()
        let (output, _) = try await withProgram(program, ["--help-hidden"]) { program in
            try await program.waitForExit()
            return program.output
        }
        let flags = output.matches(of: /(?:^|[ ,\/])(--[a-z][a-z0-9-]*)/.anchorsMatchLineEndings()).map { String($0.1) }
        #expect(Set(flags) == KnownFlags.flags(of: builtin))
    }
}
