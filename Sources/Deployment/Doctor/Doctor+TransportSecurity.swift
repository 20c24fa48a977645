/// TLS of the TCP plane and of answers: each process takes connections and opens them, and needs both halves.
///
/// Source: contract `request-plane.md`, 2.6; only 1.6 has it.
extension Doctor {
    private struct Halves {
        let process: FoundProcess
        let takes: Bool
        let opens: Bool

        init(_ process: FoundProcess) {
            self.process = process
            func isSet(_ name: String) -> Bool { process.setting(nil, "DYN_TCP_TLS_\(name)") != nil }
            let knows = process.release.map { $0 >= DynamoRelease(1, 6, 0) } ?? true
            let insecure = process.setting(nil, "DYN_TCP_TLS_INSECURE")?.value.lowercased() ?? ""
            self.takes = knows && isSet("CERT_PATH")
            self.opens = knows && (isSet("CA_CERT_PATH") || ["1", "true", "yes", "on"].contains(insecure))
        }

        var words: String {
            let release = self.process.release.map { $0 < DynamoRelease(1, 6, 0) ? ", Dynamo \($0) has no TLS" : "" }
            return "\(self.process.words): takes \(self.takes ? "TLS" : "plain") connections, opens "
                + "\(self.opens ? "TLS" : "plain") ones\(release ?? "")"
        }
    }

    static func transportSecurity(_ group: FoundDeployment) -> [Finding] {
        var findings: [Finding] = []
        for process in group.processes {
            for prefix in ["DYN_TCP_TLS_", "DYN_TCP_TLS_CLIENT_"] {
                let pair = ["\(prefix)CERT_PATH", "\(prefix)KEY_PATH"]
                let missing = pair.filter { process.setting(nil, $0) == nil }
                guard missing.count == 1 else { continue }
                findings.append(
                    Finding(
                        .error,
                        .halfOfTLS,
                        "\(process.words) has one of two variables that go together",
                        evidence: pair.map { "\($0): \(missing.contains($0) ? "not set" : "set")" },
                        remedy: "set \(missing[0]) too, or neither"
                    )
                )
            }
        }
        let halves = group.processes.map(Halves.init)
        let clashes = halves.contains { one in
            halves.contains { $0.process.pid != one.process.pid && $0.takes != one.opens }
        }
        if clashes {
            findings.append(
                Finding(
                    .error,
                    .tlsDiffers,
                    "some processes speak TLS where others do not, so connections between them fail",
                    evidence: halves.map(\.words),
                    remedy:
                        "set DYN_TCP_TLS_CERT_PATH, DYN_TCP_TLS_KEY_PATH and DYN_TCP_TLS_CA_CERT_PATH for every process, or for none"
                )
            )
        }
        return findings
    }
}
