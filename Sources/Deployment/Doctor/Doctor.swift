/// Judges running processes by the facts that were gathered of them.
package struct Doctor: Sendable {
    let facts: DoctorFacts

    package init(_ facts: DoctorFacts) { self.facts = facts }

    /// What is to be said, the worst first.
    package var findings: [Finding] {
        let groups = FoundDeployment.group(self.facts.processes)
        var result = self.ofLauncher + self.ofOrphans
        result += groups.flatMap { group in group.contradictions.compactMap { Self.finding($0, in: group) } }
        result += groups.flatMap(Self.transportSecurity)
        result += self.facts.processes.flatMap(Self.settings)
        result += self.ofDiscovery
        result += self.ofPorts
        result += self.ofNATS
        return result.enumerated()
            .sorted { ($0.element.severity, $0.offset) < ($1.element.severity, $1.offset) }
            .map(\.element)
    }

    // MARK: What processes were told

    private static func finding(
        _ contradiction: FoundDeployment.Contradiction,
        in group: FoundDeployment
    ) -> Finding? {
        let (severity, kind, remedy): (Finding.Severity, Finding.Kind, String)
        switch contradiction.subject {
        // A frontend may see several, and a worker has one of its own: judged by who sees whom.
        case .namespace: return nil
        case .requestPlane:
            (severity, kind) = (group.hasForeignCallers ? .error : .warning, .requestPlanesDiffer)
            remedy =
                "start all of them with the same DYN_REQUEST_PLANE, and no --request-plane that says something else"
        case .eventPlane:
            (severity, kind) = (.warning, .eventPlanesDiffer)
            remedy = "start all of them with the same DYN_EVENT_PLANE, and no --event-plane that says something else"
        case .responsePlane:
            (severity, kind) = (.error, .responsePlanesDiffer)
            remedy = "start all of them with the same DYN_RESPONSE_PLANE"
        case .codec:
            (severity, kind) = (.note, .codecsDiffer)
            remedy = "set DYN_REQUEST_PLANE_CODEC for all of them, or for none"
        case .natsServer:
            (severity, kind) = (.error, .natsServersDiffer)
            remedy = "start all of them with the same NATS_SERVER"
        case .release:
            (severity, kind) = (.note, .releasesDiffer)
            remedy = "use one release of Dynamo, except while you move from one to the other"
        case .httpPath:
            (severity, kind) = (.error, .httpPathsDiffer)
            remedy = "start all of them with the same DYN_HTTP_RPC_ROOT_PATH"
        case .hashSeed:
            (severity, kind) = (.warning, .hashSeedsDiffer)
            remedy = "start all of them with PYTHONHASHSEED=0"
        }
        return Finding(
            severity,
            kind,
            "the \(contradiction.subject.rawValue) differs: \(contradiction.consequence)",
            evidence: contradiction.values,
            remedy: remedy
        )
    }

    private static func settings(_ process: FoundProcess) -> [Finding] {
        guard process.process.environment != nil else {
            return [
                Finding(
                    .note,
                    .environmentUnreadable,
                    "the environment of \(process.words) cannot be read, so only its flags are known",
                    evidence: ["/proc/\(process.pid)/environ is not readable"],
                    remedy: "call doctor as the user whose process it is, or as root"
                )
            ]
        }
        let row = process.release.map { ReleaseKnowledge.row(for: $0).row }
        let planes: [(String, FoundProcess.Setting?, [String], [String]?)] = [
            (
                "request plane", process.requestPlane, PlaneSet.Request.allCases.map(\.rawValue),
                row?.requestPlanes.map(\.rawValue)
            ),
            ("event plane", process.eventPlane, ["nats", "zmq"], nil),
            (
                "response plane", process.responsePlane, PlaneSet.Response.allCases.map(\.rawValue),
                row?.responsePlanes.map(\.rawValue)
            ),
        ]
        return planes.compactMap { name, setting, valid, inRelease in
            guard let setting else { return nil }
            let evidence = ["\(process.words): \(name) \(setting.words)"]
            guard valid.contains(setting.value) else {
                let nearest = Spelling.nearest(to: setting.value, among: valid).map { "; did you mean '\($0)'?" } ?? ""
                return Finding(
                    .error,
                    .invalidPlane,
                    "'\(setting.value)' is no \(name)\(nearest)",
                    evidence: evidence,
                    remedy: "set \(setting.source ?? name) to one of: \(valid.joined(separator: ", "))"
                )
            }
            guard let inRelease, let release = process.release, !inRelease.contains(setting.value) else { return nil }
            return Finding(
                .error,
                .planeNotInRelease,
                "Dynamo \(release) has no \(name) '\(setting.value)'",
                evidence: evidence + ["release \(release) has: \(inRelease.joined(separator: ", "))"],
                remedy: "set \(setting.source ?? name) to \(inRelease.joined(separator: " or ")) for every process"
            )
        }
    }
}
