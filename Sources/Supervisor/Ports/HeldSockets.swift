internal import CProcess
internal import Deployment
internal import Glibc

/// The sockets that the launcher listens on for its replicas, from the first start of each to the end of the deployment.
struct HeldSockets: Sendable {
    /// A port cannot be opened.
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    private var sockets: [HTTPAddress: Int32] = [:]

    /// The ports of all of them.
    var ports: Set<Int> { Set(self.sockets.keys.map(\.port)) }

    /// Descriptors of a replica's sockets; opened when they are not yet.
    ///
    /// - Parameter listens: its plan's; another version of the replica that listens at the same address gets the same socket.
    /// - Returns: the descriptors, in the order of the plan; they stay open and stay ours.
    /// - Throws: `Failure` when one cannot be opened.
    mutating func descriptors(_ listens: [ListenPlan]) throws(Failure) -> [Int32] {
        var all: [Int32] = []
        for listen in listens {
            if let known = self.sockets[listen.address] {
                all.append(known)
                continue
            }
            var descriptor: Int32 = -1
            let (host, port) = (listen.address.host, listen.address.port)
            let error = dynamo_listen(host, Int32(port), &descriptor)
            guard error == 0 else {
                let reason = error < 0 ? String(cString: gai_strerror(error)) : errorText(error)
                throw Failure(description: "cannot listen on \(host):\(port) (\(listen.name)): \(reason)")
            }
            self.sockets[listen.address] = descriptor
            all.append(descriptor)
        }
        return all
    }

    /// Takes sockets that another launcher has opened.
    ///
    /// - Parameters:
    ///   - descriptors: they become ours.
    ///   - listens: what they are, in the same order.
    /// - Returns: those that are none of them.
    mutating func take(_ descriptors: [Int32], for listens: [ListenPlan]) -> [Int32] {
        for (listen, descriptor) in zip(listens, descriptors) {
            if let known = self.sockets.updateValue(descriptor, forKey: listen.address) { close(known) }
        }
        return Array(descriptors.dropFirst(listens.count))
    }

    /// Closes those on some ports.
    ///
    /// - Parameters:
    ///   - ports: of a replica.
    ///   - listens: those that it is passed.
    mutating func release(_ ports: Set<Int>, except listens: [ListenPlan]) {
        let wanted = Set(listens.map(\.address))
        for (address, descriptor) in self.sockets where ports.contains(address.port) && !wanted.contains(address) {
            close(descriptor)
            self.sockets[address] = nil
        }
    }

    /// Closes those that no replica is passed any more; what a process was passed stays open in it.
    mutating func keep(_ listens: [ListenPlan]) {
        let wanted = Set(listens.map(\.address))
        for (address, descriptor) in self.sockets where !wanted.contains(address) {
            close(descriptor)
            self.sockets[address] = nil
        }
    }

    /// The variables that tell a process what it was passed (`sd_listen_fds(3)`); the keeper fills in its number.
    static func variables(_ listens: [ListenPlan]) -> [String] {
        guard !listens.isEmpty else { return [] }
        let names = listens.map(\.name).joined(separator: ":")
        return [DYNAMO_LISTEN_PID, "LISTEN_FDS=\(listens.count)", "LISTEN_FDNAMES=\(names)"]
    }
}
