/// What a line of releases has that the one before it has not, or the other way round.
struct ReleaseChange: Sendable, Hashable {
    enum Event: Sendable, Hashable {
        case added
        case removed
    }

    let event: Event
    let kind: ReleaseFeature.Kind
    /// The component that knows it; nil: any.
    let component: String?
    /// What to write where it is not known.
    let remedy: String

    static func added(_ kind: ReleaseFeature.Kind, of component: String? = nil, _ remedy: String) -> Self {
        Self(event: .added, kind: kind, component: component, remedy: remedy)
    }

    static func removed(_ kind: ReleaseFeature.Kind, of component: String? = nil, _ remedy: String) -> Self {
        Self(event: .removed, kind: kind, component: component, remedy: remedy)
    }
}

/// A flag, module or variable that some releases of Dynamo do not have.
struct ReleaseFeature: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case flag(String)
        /// The last part of its name.
        case module(String)
        case variable(String)
    }

    let kind: Kind
    /// The component that knows it; nil: any.
    let component: String?
    /// The first line that has it; nil: it is older than what is known here.
    private(set) var since: DynamoRelease?
    /// The first line that does not have it any more; nil: the newest still has it.
    private(set) var until: DynamoRelease?
    let remedy: String

    /// Whether a release has it.
    func exists(in release: DynamoRelease) -> Bool {
        self.since.map { release >= $0 } ?? true && self.until.map { release < $0 } ?? true
    }

    /// Which releases have it, in words.
    var releases: String {
        let first = self.since ?? DynamoRelease(1, 0, 0)
        guard let until = self.until else { return "only releases from \(first.major).\(first.minor) on have it" }
        guard first < until else { return "no release from 1.0 on has it" }
        let last = ReleaseKnowledge.rows.map(\.since).last { $0 < until } ?? first
        return last == first
            ? "only release \(first.major).\(first.minor) has it"
            : "only releases \(first.major).\(first.minor) to \(last.major).\(last.minor) have it"
    }

    /// What the rows say together, in their order.
    static let all: [Self] = {
        var all: [Self] = []
        for row in ReleaseKnowledge.rows {
            for change in row.changes {
                let known = all.firstIndex { $0.kind == change.kind && $0.component == change.component }
                switch (change.event, known) {
                case (.removed, .some(let index)): all[index].until = row.since
                case (.removed, nil):
                    all.append(
                        Self(kind: change.kind, component: change.component, until: row.since, remedy: change.remedy)
                    )
                case (.added, _):
                    all.append(
                        Self(kind: change.kind, component: change.component, since: row.since, remedy: change.remedy)
                    )
                }
            }
        }
        return all
    }()
}
