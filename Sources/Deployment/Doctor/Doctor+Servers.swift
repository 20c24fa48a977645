/// Ports, and the NATS server.
extension Doctor {
    // MARK: Ports

    var ofPorts: [Finding] {
        self.facts.processes.flatMap { process in
            let findings = process.wantedPorts.compactMap { use, port in self.port(port, use: use, of: process) }
            guard let complaint = process.complaint, findings.isEmpty else { return findings }
            return findings + [
                Finding(
                    .warning,
                    .notReady,
                    "\(process.words) does not say that it is ready",
                    evidence: ["its system server says \(complaint)"],
                    remedy:
                        "wait while it loads its model; if it serves nevertheless, leave DYN_HEALTH_CHECK_ENABLED away"
                )
            ]
        }
    }

    private func port(_ port: Int, use: String, of process: FoundProcess) -> Finding? {
        guard !process.process.listeners.contains(where: { $0.port == port }) else { return nil }
        if let holder = self.facts.holders[port], holder.pid != process.pid {
            return Finding(
                .error,
                .portTaken,
                "the \(use) port \(port) of \(process.words) is taken",
                evidence: ["\(holder.words) listens on it"],
                remedy: "end that process, or give one of them another port"
            )
        }
        // It may be one of its children.
        guard self.facts.holders[port] == nil else { return nil }
        return Finding(
            .warning,
            .portNotOpen,
            "\(process.words) has not opened its \(use) port \(port)",
            evidence: ["nobody listens on port \(port)"],
            remedy: "wait while it starts; else its log says what it waits for"
        )
    }

    // MARK: NATS

    /// Headers came with this one, and JetStream.
    private static let oldestNATS = DynamoRelease(2, 2, 0)
    /// What a server allows that was told nothing.
    private static let usualPayload = 1 << 20

    private static func needsNATS(_ process: FoundProcess) -> Bool { process.nats != nil || process.keepsEvents }

    var ofNATS: [Finding] {
        let users = Dictionary(grouping: self.facts.processes) { $0.natsURL }
        return self.facts.nats.sorted { $0.key < $1.key }.flatMap { url, answer in
            let processes = users[url] ?? []
            let needing = processes.filter(Self.needsNATS)
            // What a process of an unknown release does about events is not known.
            let idle = processes.filter { !Self.needsNATS($0) && ($0.isBuiltin || $0.eventPlane != nil) }
            var findings = needing.isEmpty ? [] : self.judge(answer, url: url, of: needing)
            if !idle.isEmpty { findings.append(Self.idle(idle, url: url, answer)) }
            return findings
        }
    }

    /// Either of them may be what a process needs the server for.
    private static func planes(of process: FoundProcess) -> String {
        "request plane \(process.requestPlane.words)"
            + (process.eventPlane.map { ", event plane \($0.words)" } ?? "")
    }

    private static func idle(_ processes: [FoundProcess], url: String, _ answer: DoctorFacts.NATSAnswer) -> Finding {
        var severity = Finding.Severity.note
        var evidence = processes.map { "\($0.words): \(Self.planes(of: $0))" }
        if case .silence(let reason) = answer {
            severity = .warning
            evidence.append("\(url) does not answer: \(reason)")
        }
        return Finding(
            severity,
            .natsNotNeeded,
            "NATS_SERVER is set where no plane needs it, and Dynamo connects to it nevertheless",
            evidence: evidence,
            remedy: "start them without NATS_SERVER"
        )
    }

    private func judge(
        _ answer: DoctorFacts.NATSAnswer,
        url: String,
        of processes: [FoundProcess]
    ) -> [Finding] {
        let users = processes.map { "\($0.words): \($0.natsURL ?? url), \(Self.planes(of: $0))" }
        let server: DoctorFacts.NATSServer
        switch answer {
        case .silence(let reason):
            return [
                Finding(
                    .error,
                    .natsUnreachable,
                    "the NATS server \(url) does not answer",
                    evidence: [reason] + users,
                    remedy: "start nats-server there, or give the right NATS_SERVER"
                )
            ]
        case .server(let info): server = info
        }
        var findings: [Finding] = []
        let isOld = DynamoRelease(server.version).map { $0 < Self.oldestNATS } ?? false
        if isOld || !server.hasHeaders {
            findings.append(
                Finding(
                    .error,
                    .natsTooOld,
                    "the NATS server \(url) is too old, or has headers switched off, which requests need",
                    evidence: ["it is version \(server.version), headers \(server.hasHeaders ? "on" : "off")"] + users,
                    remedy: "run nats-server \(Self.oldestNATS) or later, without no_header_support"
                )
            )
        }
        if !server.hasJetStream, processes.contains(where: \.keepsEvents) {
            findings.append(
                Finding(
                    .error,
                    .natsWithoutJetStream,
                    "KV events are to be kept in JetStream, which the NATS server \(url) does not have",
                    evidence: processes.filter(\.keepsEvents).map(\.words),
                    remedy: "start nats-server with --jetstream (-js)"
                )
            )
        }
        if processes.contains(where: { $0.requestPlane.value == "nats" }), server.maxPayload <= Self.usualPayload {
            findings.append(
                Finding(
                    server.maxPayload < Self.usualPayload ? .warning : .note,
                    .natsPayloadLimit,
                    "requests of more than \(server.maxPayload) bytes fail on the NATS plane",
                    evidence: ["the server \(url) says max_payload \(server.maxPayload)"],
                    remedy:
                        "set max_payload in the server's configuration if prompts can be longer (or images are sent)"
                )
            )
        }
        return findings
    }
}
