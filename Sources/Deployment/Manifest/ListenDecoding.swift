// Ports that the launcher opens for a process, and what else it passes to one as a service manager would.

extension ProcessDecoder {
    /// The names under `listen`.
    mutating func listen(_ entry: ManifestNode.Entry, of process: ProcessManifest) -> [Located<String>] {
        let names = self.node.texts(entry.value, "'listen'")
        let problem: String? =
            switch process.program {
            case .builtin(.frontend), .command: nil
            case .builtin(let builtin): "'builtin: \(builtin.rawValue)' does not"
            case .module(let module, _): "\(module) does not"
            }
        if let problem {
            self.node.error(
                at: entry.keyLocation,
                "'listen' is for programs that take sockets (LISTEN_FDS), and \(problem)",
                remedy: "remove it: this program opens its ports itself"
            )
            return []
        }
        return names.filter { name in
            guard !self.portNames.contains(name.value) else { return true }
            let nearest = Spelling.nearest(to: name.value, among: self.portNames)
            self.node.error(
                at: name.location,
                "'\(Spelling.excerpt(name.value))' is no port of process '\(process.name.value)'",
                remedy: nearest.map { "write '\($0)'" } ?? "give it one: 'ports: {\(name.value): auto}'"
            )
            return false
        }
    }

    /// With the probe `notify`, and with `listen`, the launcher decides some variables.
    mutating func checkPassedVariables(of process: ProcessManifest) {
        var passed: [String: String] = [:]
        if process.probes.contains(where: { $0.question == .notify }) { passed["NOTIFY_SOCKET"] = "the probe 'notify'" }
        if !process.listen.isEmpty {
            for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { passed[name] = "'listen'" }
        }
        for entry in process.environment {
            guard let decider = passed[entry.name.value] else { continue }
            self.node.error(
                at: entry.name.location,
                "'\(entry.name.value)' is set, and \(decider) decides it",
                remedy: "remove the variable, or \(decider)"
            )
        }
    }
}
