/// What the launcher knows about one line of Dynamo releases.
struct ReleaseKnowledge: Sendable, Hashable {
    /// The event plane of a process that is told nothing.
    enum DefaultEvents: Sendable, Hashable {
        case natsCore
        case zmq
        /// `zmq` with file and in-memory discovery, `nats` with etcd.
        case byDiscovery
    }

    /// The first release of the line.
    let since: DynamoRelease
    /// The release of the line that this was read from.
    let observed: DynamoRelease
    let requestPlanes: [PlaneSet.Request]
    let responsePlanes: [PlaneSet.Response]
    let defaultEvents: DefaultEvents
    /// Whether discovery is chosen by `DYN_STORE_KV` rather than `DYN_DISCOVERY_BACKEND`.
    let usesStoreKV: Bool
    /// Whether workers and routers can keep KV events in JetStream.
    let hasDurableEvents: Bool
    /// Flags, modules and variables that came or went with it.
    var changes: [ReleaseChange] = []

    /// The row of the nearest line that is not newer, and what to say when that is a guess.
    static func row(for release: DynamoRelease) -> (row: Self, note: String?) {
        let oldest = self.rows[0]
        guard let row = self.rows.last(where: { $0.since <= release }) else {
            return (
                oldest, "Dynamo \(release) is older than any release known here; it is treated like \(oldest.observed)"
            )
        }
        if row == self.rows.last, (release.major, release.minor) > (row.since.major, row.since.minor) {
            return (row, "Dynamo \(release) is newer than any release known here; it is treated like \(row.observed)")
        }
        return (row, nil)
    }

    /// `1.0 to 1.2`: the lines, from 1.0 on, that have a request plane.
    static func lines(with plane: PlaneSet.Request) -> String {
        let lines = self.rows.filter { $0.since.major >= 1 && $0.requestPlanes.contains(plane) }.map(\.since)
        guard let first = lines.first, let last = lines.last else { return "none" }
        guard last != self.rows.last?.since else { return "\(first.major).\(first.minor) and later" }
        return "\(first.major).\(first.minor) to \(last.major).\(last.minor)"
    }

    /// What a process of this line does about KV events when it is told nothing.
    func events(with discovery: DiscoveryManifest.Backend) -> PlaneSet.Events {
        switch self.defaultEvents {
        case .natsCore: .natsCore
        case .zmq: .zmq
        case .byDiscovery: discovery == .etcd ? .natsCore : .zmq
        }
    }
}

extension DynamoRelease {
    /// From `1.2.1`, `v1.2`, `1.2.1rc1`, `1.2.1.post2`.
    ///
    /// - Parameter text: As a package or a user says it.
    package init?(_ text: String) {
        var rest = Substring(text)
        if rest.first == "v" { rest = rest.dropFirst() }
        let parts = rest.split(separator: ".", omittingEmptySubsequences: false)
        guard (2...5).contains(parts.count) else { return nil }
        var numbers: [Int] = []
        for (index, part) in parts.prefix(3).enumerated() {
            let digits = part.prefix { ("0"..."9").contains($0) }
            guard let number = Int(digits), number < 10000, index == 2 || digits.endIndex == part.endIndex else {
                return nil
            }
            guard part[digits.endIndex...].allSatisfy({ $0.isLetter || $0.isNumber || $0 == "+" || $0 == "-" }) else {
                return nil
            }
            numbers.append(number)
        }
        self.init(numbers[0], numbers[1], numbers.count > 2 ? numbers[2] : 0)
    }
}
