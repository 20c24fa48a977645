internal import Glibc
internal import Synchronization

/// Ports that programs must bind themselves, leased so that no two launchers of the machine choose the same one between looking and
/// binding.
///
/// A lease is a socket bound to a name in Linux's abstract namespace (`@dynamo-launch/port/PORT`): the system gives a name to one socket
/// only, whoever its user is, takes it back when the process dies, and has names for each network namespace, as it has ports. With
/// `survive: true` the keeper holds the socket too, so that it outlives the launcher.
package final class PortLeases: Sendable {
    /// A port that is wanted.
    package struct Request: Sendable, Hashable {
        /// For what, in messages: `worker-1/system`.
        package var name: String
        package var kind: Kind
        /// So many consecutive ports; the lease is the first.
        package var count: Int

        package init(name: String, kind: Kind = .general, count: Int = 1) {
            self.name = name
            self.kind = kind
            self.count = count
        }
    }

    /// Where a port may lie.
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        /// A worker's system port: Dynamo reads it as a signed 16-bit number.
        case system
        case general

        /// Below the ports that the kernel gives to outgoing connections, which begin at 32768.
        package var range: ClosedRange<Int> { 10_000...32_767 }
    }

    /// A lease could not be given.
    package struct Failure: Error, Sendable, CustomStringConvertible {
        package var description: String
    }

    private struct State: Sendable {
        /// The sockets whose names are the leases.
        var held: [Int32] = []
        /// Those that a launcher before this one had, by port, as long as nobody has asked for them.
        var inherited: [Int: Int32] = [:]
    }

    private static let prefix = "dynamo-launch/port/"

    private let holder: String
    private let state: Mutex<State> = Mutex(State())

    /// - Parameter holder: asks for the same ports again when they are free: a deployment's name.
    package init(holder: String) {
        self.holder = holder
    }

    deinit { self.release() }

    /// Leases a port, until `release` or the end of the process and of the keepers that were given copies of the lease.
    ///
    /// - Parameters:
    ///   - request: what is wanted.
    ///   - avoiding: ports that are spoken for otherwise.
    /// - Returns: the first port.
    /// - Throws: `Failure` when no port is free.
    package func lease(_ request: Request, avoiding: Set<Int> = []) throws(Failure) -> Int {
        let (port, names) = try self.find(request, avoiding)
        self.hold(port..<(port + max(1, request.count)), names)
        return port
    }

    /// Takes over leases of a launcher before this one; who asks for such a port gets it.
    ///
    /// - Parameter descriptors: they become ours; those that are no leases of ports are closed.
    package func adopt(_ descriptors: [Int32]) {
        for descriptor in descriptors {
            guard let name = AbstractName.of(descriptor), name.hasPrefix(Self.prefix),
                let port = Int(name.dropFirst(Self.prefix.count))
            else {
                close(descriptor)
                continue
            }
            let before = self.state.withLock { $0.inherited.updateValue(descriptor, forKey: port) }
            if let before { close(before) }
        }
    }

    /// What was taken over and nobody has asked for is given back.
    package func discardInherited() {
        let rest = self.state.withLock { state in
            defer { state.inherited = [:] }
            return state.inherited.values.map(\.self)
        }
        for name in rest { close(name) }
    }

    /// Ports that were taken over are needed.
    package func keepInherited(_ ports: Range<Int>) { self.hold(ports, []) }

    /// Leases ports that programs of the holder have bound already; one that somebody else has leased meanwhile is used all the same.
    package func takeBack(_ ports: Range<Int>) {
        for port in ports {
            guard let names = try? self.names(port..<(port + 1)) else { continue }
            self.hold(port..<(port + 1), names)
        }
    }

    /// Further descriptors of the leases, which are the caller's.
    package var copies: [Int32] {
        self.state.withLock { $0.held.map { fcntl($0, F_DUPFD_CLOEXEC, 0) }.filter { $0 >= 0 } }
    }

    private func hold(_ ports: Range<Int>, _ names: [Int32]) {
        self.state.withLock { state in
            state.held += names + ports.compactMap { state.inherited.removeValue(forKey: $0) }
        }
    }

    /// A port that is free and not leased at this moment; nothing is held.
    ///
    /// - Parameters:
    ///   - request: what is wanted.
    ///   - avoiding: ports that are spoken for otherwise.
    /// - Returns: the first port.
    /// - Throws: `Failure` when no port is free.
    package func preview(_ request: Request, avoiding: Set<Int> = []) throws(Failure) -> Int {
        let (port, names) = try self.find(request, avoiding)
        for name in names { close(name) }
        return port
    }

    /// Gives everything back.
    package func release() {
        let names = self.state.withLock { state in
            defer { state = State() }
            return state.held + state.inherited.values
        }
        for name in names { close(name) }
    }

    // MARK: Choosing

    private func find(_ request: Request, _ avoiding: Set<Int>) throws(Failure) -> (port: Int, names: [Int32]) {
        let count = max(1, request.count)
        let range = request.kind.range
        let size = range.count - count + 1
        // The same holder begins at the same place each time, so its ports stay as long as they are free.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in "\(self.holder)/\(request.name)".utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        for step in 0..<max(0, size) {
            let first = range.lowerBound + (Int(hash % UInt64(size)) + step) % size
            let block = first..<(first + count)
            guard avoiding.isDisjoint(with: block), let names = try self.names(block) else { continue }
            // Looked at once it is ours: who had it before may have bound it since.
            if block.allSatisfy(Self.canBind) { return (first, names) }
            for name in names { close(name) }
        }
        throw Failure(
            description: "no free \(count == 1 ? "port" : "block of \(count) ports") for \(request.name) from "
                + "\(range.lowerBound) to \(range.upperBound); give it one in the manifest"
        )
    }

    /// The names of all these ports but those that were taken over, or nil when somebody has one.
    private func names(_ ports: Range<Int>) throws(Failure) -> [Int32]? {
        let inherited = self.state.withLock { $0.inherited }
        var names: [Int32] = []
        for port in ports where inherited[port] == nil {
            if let descriptor = AbstractName.bind("\(Self.prefix)\(port)") {
                names.append(descriptor)
                continue
            }
            let reason = errno
            for name in names { close(name) }
            guard reason != EADDRINUSE else { return nil }
            throw Failure(description: "port \(port) cannot be leased: \(errorText(reason))")
        }
        return names
    }

    /// Whether a program could listen on the port, on every interface.
    static func canBind(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET6, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return Self.canBindIPv4(port) }
        defer { close(descriptor) }
        var both: Int32 = 0
        setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &both, 4)
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = in_port_t(UInt16(port).bigEndian)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
            }
        }
        return result == 0 || (errno != EADDRINUSE && errno != EACCES && Self.canBindIPv4(port))
    }

    private static func canBindIPv4(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port).bigEndian)
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        } == 0
    }
}
