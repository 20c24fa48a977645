import Deployment

/// A manifest with the circumstances that it is planned in.
///
/// Comment lines at its top say what differs from the usual machine: `# environment: NAME=value`, `# plane: http`, `#
/// set: key=value`, `# release: 1.6.1` (or `none`), `# arguments: a b`.
struct ManifestCase {
    var path: String
    var bytes: [UInt8]
    var environment = ["PATH": "/usr/bin", "HOME": "/home/ada", "XDG_RUNTIME_DIR": "/run/user/1000"]
    var overrides = ManifestOverrides()
    var release: DynamoRelease? = DynamoRelease(1, 2, 1)
    var arguments: [String] = []
    /// What preflights gave; nil: they were not run.
    var preflight: [String: String]?

    init(path: String, bytes: [UInt8]) {
        self.path = path
        self.bytes = bytes
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false) {
            guard line.hasPrefix("# "), let colon = line.firstIndex(of: ":") else { break }
            let value = String(line[line.index(after: colon)...].drop { $0 == " " })
            switch line.dropFirst(2).prefix(upTo: colon) {
            case "environment":
                let parts = value.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                if parts.count == 2 { self.environment[String(parts[0])] = String(parts[1]) }
            case "plane": self.overrides.requestPlane = value
            case "set": self.overrides.set.append(value)
            case "release": self.release = DynamoRelease(value)
            case "arguments": self.arguments = value.split(separator: " ").map(String.init)
            default: break
            }
        }
    }

    init(_ text: String, path: String = "test.yaml") {
        self.init(path: path, bytes: Array(text.utf8))
    }

    func manifest() throws(ManifestErrors) -> Manifest {
        let source = try ManifestSource(path: self.path, bytes: self.bytes)
        return try Manifest.load(source, environment: self.environment, overrides: self.overrides)
    }

    func plan() throws(ManifestErrors) -> Plan {
        try Planner.plan(self.manifest(), facts: self.facts)
    }

    /// The text of every error; empty when there is none.
    var errors: String {
        do throws(ManifestErrors) {
            _ = try self.plan()
            return ""
        } catch {
            return error.description + "\n"
        }
    }

    /// A machine with a few programs, whose leases count up from 20000.
    var facts: PlanFacts {
        var next = 20000
        let programs: Set<String> = ["python3", "nats-server", "sleep", "sh"]
        let release = self.release
        return PlanFacts(
            environment: self.environment,
            workingDirectory: "/srv/demo",
            homeDirectory: "/home/ada",
            builtinDirectory: "/opt/dynamo-launch/bin",
            userID: 1000,
            isExecutable: { path in
                path.hasPrefix("/usr/bin/") && programs.contains(String(path.dropFirst("/usr/bin/".count)))
                    || path.hasPrefix("/opt/dynamo-launch/bin/")
            },
            directoryExists: { $0 == "/srv/demo" || $0 == "/tmp" },
            detectRelease: { _ in
                release.map { .success($0) } ?? .failure(ReleaseProblem(reason: "No module named 'dynamo'"))
            },
            leasePort: { request in
                while request.avoiding.contains(next) { next += 1 }
                defer { next += 1 }
                return next
            },
            passthroughArguments: self.arguments,
            preflight: self.preflight
        )
    }
}
