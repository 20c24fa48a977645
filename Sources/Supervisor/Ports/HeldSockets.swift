internal import CProcess
internal import Deployment
internal import Glibc

/// The sockets that the launcher listens on for its replicas, from the first start of each to the end of the deployment.
struct HeldSockets: Sendable {
    /// A port cannot be opened.
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    /// By replica, in the order of its plan.
    private var sockets: [Int: [Int32]] = [:]
    /// The ports of all of them.
    private(set) var ports: Set<Int> = []

    /// Descriptors of a replica's sockets; opened when they are not yet.
    ///
    /// - Parameters:
    ///   - index: the replica.
    ///   - listens: its plan's.
    /// - Returns: the descriptors, in the order of the plan; they stay open and stay ours.
    /// - Throws: `Failure` when one cannot be opened; none is, then.
    mutating func descriptors(of index: Int, _ listens: [ListenPlan]) throws(Failure) -> [Int32] {
        if let known = self.sockets[index] { return known }
        var made: [Int32] = []
        for listen in listens {
            var descriptor: Int32 = -1
            let (host, port) = (listen.address.host, listen.address.port)
            let error = dynamo_listen(host, Int32(port), &descriptor)
            guard error == 0 else {
                for descriptor in made { close(descriptor) }
                let reason = error < 0 ? String(cString: gai_strerror(error)) : errorText(error)
                throw Failure(description: "cannot listen on \(host):\(port) (\(listen.name)): \(reason)")
            }
            made.append(descriptor)
        }
        self.sockets[index] = made
        self.ports.formUnion(listens.map(\.address.port))
        return made
    }

    /// Closes all; what a process was passed stays open in it.
    mutating func closeAll() {
        for descriptor in self.sockets.values.joined() { close(descriptor) }
        self.sockets = [:]
        self.ports = []
    }

    /// The variables that tell a process what it was passed (`sd_listen_fds(3)`); the keeper fills in its number.
    static func variables(_ listens: [ListenPlan]) -> [String] {
        guard !listens.isEmpty else { return [] }
        let names = listens.map(\.name).joined(separator: ":")
        return [DYNAMO_LISTEN_PID, "LISTEN_FDS=\(listens.count)", "LISTEN_FDNAMES=\(names)"]
    }
}
