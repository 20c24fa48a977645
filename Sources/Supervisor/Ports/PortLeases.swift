internal import FoundationEssentials
internal import Glibc

/// Hands out ports that programs must bind themselves.
///
/// All launchers of a user share one registry, guarded by a lock on a file, so that two of them never choose the same
/// port between looking and binding. A lease lasts as long as the process that holds it.
package struct PortLeases: Sendable {
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

    private struct Entry: Codable {
        var port: Int
        var pid: Int32
        var startTime: UInt64
        var deployment: String
        var name: String
    }

    package let directory: String

    /// - Parameter directory: a folder that the launchers share.
    package init(directory: String) {
        self.directory = directory
    }

    /// Leases a port for each request, for the life of this process; all of them or none.
    ///
    /// - Parameters:
    ///   - requests: what is wanted.
    ///   - deployment: asks for the same ports again when they are free.
    ///   - avoiding: ports that are spoken for otherwise.
    /// - Returns: the first port of each request, in their order.
    /// - Throws: `Failure` when the registry cannot be used or no port is free.
    package func lease(
        _ requests: [Request],
        deployment: String,
        avoiding: Set<Int> = []
    ) throws(Failure) -> [Int] {
        let pid = getpid()
        guard let own = ProcessTable.entry(of: pid) else {
            throw Failure(description: "/proc/\(pid)/stat cannot be read")
        }
        return try self.edit { (entries) throws(Failure) in
            var taken = avoiding.union(entries.map(\.port))
            var ports: [Int] = []
            for request in requests {
                guard let port = Self.freeBlock(for: request, deployment: deployment, taken: taken) else {
                    let range = request.kind.range
                    throw Failure(
                        description: "no free \(request.count == 1 ? "port" : "block of \(request.count) ports") for "
                            + "\(request.name) from \(range.lowerBound) to \(range.upperBound); give it one in the manifest"
                    )
                }
                for offset in 0..<max(1, request.count) {
                    taken.insert(port + offset)
                    entries.append(
                        Entry(
                            port: port + offset,
                            pid: pid,
                            startTime: own.startTime,
                            deployment: deployment,
                            name: request.name
                        )
                    )
                }
                ports.append(port)
            }
            return ports
        }
    }

    /// A port that is free and not leased at this moment; nothing is held or written.
    ///
    /// - Parameters:
    ///   - request: what is wanted.
    ///   - deployment: as for `lease`.
    ///   - avoiding: ports that are spoken for otherwise.
    /// - Returns: the first port.
    /// - Throws: `Failure` when no port is free.
    package func preview(_ request: Request, deployment: String, avoiding: Set<Int> = []) throws(Failure) -> Int {
        guard let port = Self.freeBlock(for: request, deployment: deployment, taken: avoiding) else {
            let range = request.kind.range
            throw Failure(
                description: "no free port for \(request.name) from \(range.lowerBound) to \(range.upperBound)"
            )
        }
        return port
    }

    /// Gives back what this process holds for a deployment.
    ///
    /// - Parameter deployment: the name that was given to `lease`.
    /// - Throws: `Failure` when the registry cannot be used.
    package func release(deployment: String) throws(Failure) {
        let pid = getpid()
        try self.edit { (entries) throws(Failure) in
            entries.removeAll { $0.pid == pid && $0.deployment == deployment }
        }
    }

    // MARK: Choosing

    private static func freeBlock(for request: Request, deployment: String, taken: Set<Int>) -> Int? {
        let count = max(1, request.count)
        let range = request.kind.range
        let size = range.count - count + 1
        guard size > 0 else { return nil }
        // The same deployment begins at the same place each time, so its ports stay as long as they are free.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in "\(deployment)/\(request.name)".utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let start = Int(hash % UInt64(size))
        for step in 0..<size {
            let first = range.lowerBound + (start + step) % size
            let block = first..<(first + count)
            if block.allSatisfy({ !taken.contains($0) && Self.canBind($0) }) { return first }
        }
        return nil
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

    // MARK: The registry

    /// Reads the registry without what has expired, lets the body change it, and writes it back, all under the lock.
    private func edit<Result>(_ body: (inout [Entry]) throws(Failure) -> Result) throws(Failure) -> Result {
        do {
            try DirectoryMaker.make(self.directory)
        } catch {
            throw Failure(description: "\(error)")
        }
        let lockPath = "\(self.directory)/ports.lock"
        let lock = open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else { throw Failure(description: "cannot open \(lockPath): \(errorText(errno))") }
        defer { close(lock) }
        while flock(lock, LOCK_EX) != 0 {
            guard errno == EINTR else { throw Failure(description: "cannot lock \(lockPath): \(errorText(errno))") }
        }
        let path = "\(self.directory)/ports.json"
        // A registry that cannot be read is worth nothing; the bind test still protects what runs.
        let decoded = ProcessTable.read(path).flatMap { try? JSONDecoder().decode([Entry].self, from: Data($0)) }
        var entries = (decoded ?? []).filter { ProcessTable.entry(of: $0.pid)?.startTime == $0.startTime }
        let result = try body(&entries)
        let temporary = "\(path).new"
        let bytes = (try? JSONEncoder().encode(entries)).map { Array($0) } ?? []
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        defer { if file >= 0 { close(file) } }
        guard file >= 0, write(file, bytes, bytes.count) == bytes.count, rename(temporary, path) == 0 else {
            throw Failure(description: "cannot write \(path): \(errorText(errno))")
        }
        return result
    }
}
