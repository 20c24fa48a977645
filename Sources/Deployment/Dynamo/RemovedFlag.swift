/// A flag, module or variable that some releases of Dynamo do not have.
struct RemovedFlag: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case flag(String)
        case module(String)
        case variable(String)
    }

    let kind: Kind
    /// The component that knows it; nil: any.
    let component: String?
    /// The first line that has it; nil: none from 1.0 on.
    let since: DynamoRelease?
    /// The first line that does not have it any more; nil: the newest still has it.
    let until: DynamoRelease?
    let remedy: String

    /// Whether a release has it.
    func exists(in release: DynamoRelease) -> Bool {
        guard let since = self.since, release >= since else { return false }
        return self.until.map { release < $0 } ?? true
    }

    /// Which releases have it, in words.
    var releases: String {
        guard let since = self.since else { return "no release from 1.0 on has it" }
        guard let until = self.until else { return "only releases from \(since.major).\(since.minor) on have it" }
        let last = ReleaseKnowledge.rows.map(\.since).last { $0 < until } ?? since
        return last == since
            ? "only release \(since.major).\(since.minor) has it"
            : "only releases \(since.major).\(since.minor) to \(last.major).\(last.minor) have it"
    }

    static let all: [Self] = [
        Self(
            kind: .flag("--is-prefill-worker"),
            component: "vllm",
            since: DynamoRelease(1, 0, 0),
            until: DynamoRelease(1, 4, 0),
            remedy: "write '--disaggregation-mode', 'prefill'"
        ),
        Self(
            kind: .flag("--is-decode-worker"),
            component: "vllm",
            since: DynamoRelease(1, 0, 0),
            until: DynamoRelease(1, 4, 0),
            remedy: "write '--disaggregation-mode', 'decode'"
        ),
        Self(
            kind: .flag("--router-reset-states"),
            component: nil,
            since: DynamoRelease(1, 0, 0),
            until: DynamoRelease(1, 4, 0),
            remedy: "remove it: the router keeps no state that could be reset"
        ),
        Self(
            kind: .flag("--router-durable-kv-events"),
            component: nil,
            since: DynamoRelease(1, 0, 0),
            until: DynamoRelease(1, 4, 0),
            remedy: "remove it: routers ask workers for what they have missed"
        ),
        Self(
            kind: .flag("--durable-kv-events"),
            component: nil,
            since: DynamoRelease(1, 0, 0),
            until: DynamoRelease(1, 4, 0),
            remedy: "remove it: routers ask workers for what they have missed"
        ),
        Self(
            kind: .flag("--response-plane"),
            component: nil,
            since: DynamoRelease(1, 6, 0),
            until: nil,
            remedy: "remove it"
        ),
        Self(
            kind: .flag("--publish-kv-events"),
            component: "trtllm",
            since: DynamoRelease(1, 3, 0),
            until: nil,
            remedy: "write '--publish-events-and-metrics'"
        ),
        Self(
            kind: .flag("--connector"),
            component: "vllm",
            since: nil,
            until: nil,
            remedy: "write '--kv-transfer-config' with the connector as JSON"
        ),
        Self(
            kind: .variable("DYN_CONNECTOR"),
            component: "vllm",
            since: nil,
            until: nil,
            remedy: "remove it and write '--kv-transfer-config' with the connector as JSON"
        ),
        Self(
            kind: .variable("DYN_VLLM_KV_EVENT_PORT"),
            component: "vllm",
            since: DynamoRelease(1, 0, 0),
            until: DynamoRelease(1, 1, 0),
            remedy: "write '--kv-events-config' with the endpoint as JSON"
        ),
        Self(
            kind: .module("unified_main"),
            component: nil,
            since: DynamoRelease(1, 1, 0),
            until: DynamoRelease(1, 4, 0),
            remedy: "write the module without '.unified_main'"
        ),
    ]
}
