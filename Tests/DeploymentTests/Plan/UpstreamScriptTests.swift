import Foundation
import Testing

@testable import Deployment

/// What a script of Dynamo's starts, as the manifest that replaces it has to start it.
struct UpstreamScript: Sendable, CustomTestStringConvertible {
    /// A frontend, router or worker of a script.
    struct Process: Sendable, Hashable {
        var name: String
        var module: String
        var arguments: [String] = []
        /// What the script gives this process alone.
        var environment: [String: String] = [:]
        /// nil: the script leaves the devices to the engine.
        var gpus: String?
        /// nil: the script gives none, and the launcher chooses.
        var system: Int?
        var nixl: Int?
        var kv: Int?
    }

    /// In `launch/`.
    var manifest: String
    /// What the manifest's head names.
    var script: String
    /// First and last line of releases that it is for; no last: the newest.
    var releases = "1.0 and later"
    /// Those that the flags of the script stand for.
    var set: [String] = []
    /// The caller's variables.
    var shell: [String: String] = [:]
    var port = 8000
    /// What all processes get.
    var environment: [String: String] = [:]
    /// What no process gets of the caller.
    var unset: [String] = []
    var processes: [Process]
    /// A process that waits for another one's layer.
    var waits: [String: String] = [:]

    var testDescription: String {
        ([self.manifest] + self.set + self.shell.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" })
            .joined(separator: " ")
    }

    static let all = Self.vllm + Self.vllmKVBM + Self.sglang + Self.trtllm + Self.mocker
}

/// Every script of Dynamo's has a manifest that starts the same.
///
/// The tables are those of Dynamo's scripts, in the spelling of 1.x; what a manifest has otherwise on purpose stands in its head
/// ("Differences").
@Suite struct UpstreamScriptTests {
    private static let known = ["1.0.2", "1.1.1", "1.2.1", "1.3.1", "1.4.2", "1.6.1"]

    private static func planned(_ script: UpstreamScript, release: String) throws -> ManifestCase {
        let path = "launch/\(script.manifest).yaml"
        var planned = ManifestCase(path: path, bytes: try Fixtures.bytes(path))
        planned.environment["MODEL_PATH"] = "/models/tiny"
        planned.environment.merge(script.shell) { _, new in new }
        for name in script.unset { planned.environment[name] = "something" }
        planned.overrides.set = script.set
        planned.release = DynamoRelease(release)
        return planned
    }

    /// The releases that `1.0 and later` and `1.1 to 1.3` mean.
    private static func releases(_ text: String) throws -> [String] {
        let words = text.split(separator: " ")
        let first = try #require(words.first.flatMap { DynamoRelease(String($0)) })
        let last = words.count == 3 && words[1] == "to" ? DynamoRelease(String(words[2])) : nil
        return Self.known.filter { text in
            guard let release = DynamoRelease(text) else { return false }
            return release >= first && last.map { (release.major, release.minor) <= ($0.major, $0.minor) } ?? true
        }
    }

    @Test(arguments: UpstreamScript.all)
    func startsWhatTheScriptStarts(_ script: UpstreamScript) throws {
        let release = try #require(Self.releases(script.releases).last)
        let plan = try Self.planned(script, release: release).plan()
        #expect(plan.replicas.map(\.name) == script.processes.map(\.name))
        #expect(plan.publicAddress.port == script.port)
        for (replica, wanted) in zip(plan.replicas, script.processes) {
            let name = Comment(rawValue: replica.name)
            #expect(replica.executable == "/usr/bin/python3", name)
            #expect(replica.arguments == ["-m", wanted.module] + wanted.arguments, name)
            var environment = script.environment.merging(wanted.environment) { _, own in own }
            environment["VLLM_NIXL_SIDE_CHANNEL_PORT"] = wanted.nixl.map(String.init)
            let written = replica.environment.filter { $0.source == .manifest }
            #expect(written.map { "\($0.name)=\($0.value)" } == environment.map { "\($0)=\($1)" }.sorted(), name)
            let variables = Dictionary(uniqueKeysWithValues: replica.environment.map { ($0.name, $0.value) })
            #expect(variables["CUDA_VISIBLE_DEVICES"] == wanted.gpus ?? script.shell["CUDA_VISIBLE_DEVICES"], name)
            for unset in script.unset { #expect(variables[unset] == nil, name) }
            let ports = Dictionary(uniqueKeysWithValues: replica.ports.map { ($0.name, $0) })
            #expect(ports["kv"]?.port == wanted.kv, name)
            if wanted.module == "dynamo.frontend" {
                #expect(variables["DYN_SYSTEM_PORT"] == nil, name)
            } else {
                let system = try #require(ports["system"])
                #expect(variables["DYN_SYSTEM_PORT"] == "\(system.port)", name)
                #expect(system.leased ? wanted.system == nil : system.port == wanted.system, name)
            }
            let waits = replica.dependencies.map { "\($0.process): \($0.layer.rawValue)" }
            #expect(waits == script.waits[replica.name].map { [$0] } ?? [], name)
        }
    }

    /// `check` accepts it for every release that its head names, and for no other one.
    @Test(arguments: UpstreamScript.all)
    func isForTheReleasesThatItNames(_ script: UpstreamScript) throws {
        let releases = try Self.releases(script.releases)
        #expect(!releases.isEmpty)
        for release in Self.known {
            let errors = try Self.planned(script, release: release).errors
            #expect(errors.isEmpty == releases.contains(release), "\(release): \(errors)")
        }
    }

    @Test func everyHeadNamesScriptReleasesAndStart() throws {
        for script in UpstreamScript.all where script.set.isEmpty && script.shell.isEmpty {
            let lines = try Fixtures.text("launch/\(script.manifest).yaml").split(separator: "\n").prefix(4).map(
                String.init
            )
            #expect(lines[1] == "# Script: \(script.script)")
            #expect(lines[2] == "# Releases: \(script.releases)")
            #expect(
                lines[3].hasPrefix("# Start: ") && lines[3].hasSuffix("dynamo-launch up launch/\(script.manifest).yaml")
            )
        }
    }

    /// A manifest without its script's table would be checked by nobody.
    @Test func everyManifestOfAScriptIsInTheTables() throws {
        let launch = Fixtures.repository.appending(path: "launch")
        let paths = try FileManager.default.subpathsOfDirectory(atPath: launch.path()).filter { $0.hasSuffix(".yaml") }
        let ofScripts = try paths.filter { try Fixtures.text("launch/\($0)").contains("\n# Script: ") }
        #expect(Set(ofScripts.map { String($0.dropLast(5)) }) == Set(UpstreamScript.all.map(\.manifest)))
        #expect(ofScripts.count >= 29)
    }
}
