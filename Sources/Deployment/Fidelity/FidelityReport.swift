/// What became of everything that a manifest says, in another form than processes of this machine.
package struct FidelityReport: Sendable, Hashable {
    /// The form.
    package enum Target: String, Sendable, Hashable, CaseIterable {
        case `operator`, plain, singlePod, systemd

        /// For sentences.
        var words: String {
            switch self {
            case .operator: "the operator's resource"
            case .plain: "plain objects"
            case .singlePod: "a single pod"
            case .systemd: "systemd units"
            }
        }
    }

    /// What is known beside the manifest.
    package struct Facts: Sendable {
        /// For systemd: whether a socket unit starts the service.
        package var hasSocket = true
        /// In pods: the processes whose replicas are not alike, so that each is an object of its own.
        package var separate: Set<String> = []

        package init(hasSocket: Bool = true, separate: Set<String> = []) {
            self.hasSocket = hasSocket
            self.separate = separate
        }

        /// What a plan shows.
        package init(_ plan: ClusterPlan) {
            self.separate = Set(plan.processes.filter { $0.index != nil }.map(\.process))
        }
    }

    package var target: Target
    /// In the order of the file; what nothing says, but everybody has, comes last.
    package var entries: [FidelityEntry]

    /// - Parameters:
    ///   - manifest: as it was read.
    ///   - target: the form.
    ///   - facts: what is known beside the manifest.
    package init(_ manifest: Manifest, for target: Target, _ facts: Facts = Facts()) {
        self.target = target
        self.entries = manifest.uses.map { use in
            let verdict = FidelityRules(target: target, manifest: manifest, facts: facts).verdict(use)
            return FidelityEntry(key: use.path, location: use.location, verdict: verdict)
        }
        self.entries += Self.unsaid(manifest, target)
    }

    /// What a manifest need not say, and has on one machine all the same.
    private static func unsaid(_ manifest: Manifest, _ target: Target) -> [FidelityEntry] {
        func says(_ key: String) -> Bool {
            manifest.uses.contains { $0.path == key || $0.path.hasPrefix("\(key).") }
        }
        var entries: [FidelityEntry] = []
        func add(_ key: String, _ how: String) {
            entries.append(FidelityEntry(key: "\(key) (by default)", location: nil, verdict: .approximated(how)))
        }
        if !says("inherit") {
            switch target {
            case .operator, .plain: add("inherit", FidelityRules.inherit)
            case .singlePod: add("inherit", FidelityOfLauncher.inheritOfPod)
            case .systemd: add("inherit", FidelityOfLauncher.inheritOfUnit)
            }
        }
        guard target == .operator || target == .plain else { return entries }
        if manifest.gateway != nil, !says("gateway") {
            add(
                "gateway",
                "a Service leads clients to the frontends that are ready; while none is, requests are refused instead of held"
            )
        }
        if !says("discovery") { add("discovery", FidelityRules.discovery) }
        if target == .operator, !says("namespace") { add("namespace", FidelityRules.operatorNamespace) }
        add("ports", "what the launcher would choose is fixed, the same in every pod: each has an address of its own")
        return entries
    }

    package func count(_ status: FidelityEntry.Status) -> Int { self.entries.count { $0.status == status } }

    /// Whether something of the manifest has no effect.
    package var hasLosses: Bool { self.count(.lost) > 0 }

    /// The report for people.
    ///
    /// - Parameter isWhole: whether what was kept is named too.
    /// - Returns: lines: one with the numbers, and one for each entry.
    package func lines(isWhole: Bool) -> [String] {
        let numbers = FidelityEntry.Status.allCases.map { "\(self.count($0)) \($0.rawValue)" }.joined(separator: ", ")
        return ["the manifest as \(self.target.words): \(numbers)"]
            + self.entries.filter { isWhole || $0.status != .kept }.map(\.description)
    }
}

/// One key of a manifest, and what became of it.
package struct FidelityEntry: Sendable, Hashable {
    package enum Status: String, Sendable, Hashable, CaseIterable {
        case kept
        /// It has an effect, but another one.
        case approximated
        /// It has none.
        case lost
    }

    /// `processes.worker.stop.signal`.
    package var key: String
    package var location: Location?
    package var status: Status
    /// How it is approximated, or why it is lost.
    package var how: String?

    init(key: String, location: Location?, verdict: FidelityVerdict) {
        self.key = key
        self.location = location
        switch verdict {
        case .kept: self.status = .kept
        case .approximated(let how):
            self.status = .approximated
            self.how = how
        case .lost(let why):
            self.status = .lost
            self.how = why
        }
    }
}

extension FidelityEntry: CustomStringConvertible {
    package var description: String {
        let head = "\(self.location.map { "\($0): " } ?? "")\(self.status.rawValue): \(self.key)"
        return self.how.map { "\(head): \($0)" } ?? head
    }
}

/// The judgement of one key.
enum FidelityVerdict: Sendable, Hashable {
    case kept
    case approximated(String)
    case lost(String)
}
