import RequestPlane

/// How large a body a host takes: unknown at first, then as its servers say, or as real servers of Dynamo do, which say nothing.
struct HTTPBodyLimit: Hashable, Sendable {
    /// What every server takes.
    ///
    /// Source: `request-plane.md` 3.2.
    static let ofRealServers = 2_097_152

    static let advice = "use the TCP plane for larger requests (DYN_REQUEST_PLANE=tcp)"

    private var state = State.unknown

    private enum State: Hashable {
        case unknown
        case asked
        case known(Int, isAnnounced: Bool)
    }

    enum Verdict: Hashable {
        case send
        /// Ask the host first, then look again.
        case ask
        /// The host was asked; look again when it has answered.
        case wait
        case refuse(PlaneFailure)
    }

    /// What to do with a body.
    mutating func judge(_ size: Int) -> Verdict {
        if size <= Self.ofRealServers { return .send }
        switch self.state {
        case .unknown:
            self.state = .asked
            return .ask
        case .asked: return .wait
        case .known(let limit, let isAnnounced):
            if size <= limit { return .send }
            let who = isAnnounced ? "this server takes" : "servers of Dynamo 1.2 take"
            return .refuse(
                PlaneFailure(
                    .tooLarge,
                    "the request takes \(size) bytes, more than the \(limit) that \(who) over HTTP; \(Self.advice)"
                )
            )
        }
    }

    /// The host has answered something.
    mutating func learn(_ announced: Int?) {
        self.state = .known(announced ?? Self.ofRealServers, isAnnounced: announced != nil)
    }

    /// The host did not answer, or another server may have taken its place.
    mutating func forget() { self.state = .unknown }
}
