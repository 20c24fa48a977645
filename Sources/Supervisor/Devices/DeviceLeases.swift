internal import Glibc
internal import Synchronization

/// Accelerators of the machine, leased so that no two deployments use one by accident.
///
/// As with ports, a lease is a socket bound to a name in Linux's abstract namespace, which the system takes back when the process dies.
/// The name says who holds it (`@dynamo-launch/gpu/e/PID/USER/TOKEN/DEPLOYMENT/DEVICE`; `e` exclusively, `s` shared), and `/proc/net/unix`
/// shows the names of all users. With `survive: true` the keeper holds it too, so that it outlives the launcher. Another name, held for as
/// long as names are read and bound, lets one launcher choose at a time.
package final class DeviceLeases: Sendable {
    /// Somebody who holds a device.
    package struct Holder: Sendable, Hashable {
        /// As ``MachineDevices/names(of:)`` calls it.
        package var device: String
        package var deployment: String
        package var pid: Int32
        package var user: UInt32
        package var isShared: Bool
        /// The launcher that it is.
        var token: String
        /// Whether that launcher is gone, and its keeper holds the lease for the processes that go on.
        var isOrphaned = false

        /// The name of the launcher among all.
        fileprivate var launcher: String { "\(self.pid)/\(self.token)" }

        /// In words: `deployment 'chat' (pid 812, user ada)`.
        package var words: String {
            "deployment '\(self.deployment)' (pid \(self.pid), user \(UserName.of(self.user)))"
                + (self.isShared ? ", which shares it" : "")
                + (self.isOrphaned ? ", \(OrphanedDeployment.remedy(self.deployment, of: self.user))" : "")
        }

        /// Takes such a name.
        init?(name: Substring) {
            guard name.hasPrefix(DeviceLeases.prefix) else { return nil }
            let parts = name.dropFirst(DeviceLeases.prefix.count)
                .split(separator: "/", maxSplits: 5, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 6, let pid = Int32(parts[1]), let user = UInt32(parts[2]) else { return nil }
            self.init(
                device: parts[5],
                deployment: parts[4],
                pid: pid,
                user: user,
                isShared: parts[0] == "s",
                token: parts[3]
            )
        }

        init(device: String, deployment: String, pid: Int32, user: UInt32, isShared: Bool, token: String) {
            self.device = device
            self.deployment = deployment
            self.pid = pid
            self.user = user
            self.isShared = isShared
            self.token = token
        }

        /// Whether another deployment cannot have the device too.
        package func excludes(shared: Bool) -> Bool { !(self.isShared && shared) }
    }

    /// A lease could not be had.
    package enum Failure: Error, Sendable, CustomStringConvertible {
        /// Somebody was faster.
        case held([Holder])
        case other(String)

        package var description: String {
            switch self {
            case .held(let holders):
                holders.map { "GPU \($0.device) is held by \($0.words)" }.joined(separator: "; ")
            case .other(let text): text
            }
        }
    }

    private struct Lease: Sendable {
        var isShared: Bool
        var descriptor: Int32
    }

    fileprivate static let prefix = "dynamo-launch/gpu/"
    private static let lockName = "dynamo-launch/gpu-lock"
    /// Longest name that an abstract socket can have.
    private static let longestName = 107
    /// What all leases of this process have in common.
    private static let launcher = DeviceLeases.hexadecimal(UInt16.random(in: .min ... .max))
    private static let count = Mutex(0)
    /// The launchers before this one whose processes are this one's now.
    private static let predecessors: Mutex<Set<String>> = Mutex([])

    private let deployment: String
    private let token: String
    private let held: Mutex<[String: Lease]> = Mutex([:])

    /// - Parameter deployment: in whose name.
    package init(deployment: String) {
        self.deployment = deployment
        let number = Self.count.withLock { count in
            count += 1
            return count
        }
        self.token = "\(Self.launcher)\(number)"
    }

    deinit { self.release() }

    /// Leases devices until they are given back or the process ends; those that are held already stay held.
    ///
    /// Leases of the same launcher, which are those of its generations, do not exclude each other.
    ///
    /// - Parameters:
    ///   - devices: by their names.
    ///   - isShared: whether others that share may have them too.
    /// - Throws: `Failure` when one cannot be had; then nothing is changed.
    package func take(_ devices: Set<String>, isShared: Bool) async throws(Failure) {
        let wanted = self.held.withLock { held in devices.filter { held[$0]?.isShared != isShared } }
        guard !wanted.isEmpty else { return }
        let lock = try await Self.lock()
        defer { close(lock) }
        let holders = Self.others().filter { wanted.contains($0.device) && $0.excludes(shared: isShared) }
        guard holders.isEmpty else { throw .held(holders) }
        var taken: [String: Lease] = [:]
        for device in wanted.sorted() {
            let name = self.name(of: device, isShared: isShared)
            guard let descriptor = AbstractName.bind(name) else {
                let reason = errorText(errno)
                for lease in taken.values { close(lease.descriptor) }
                throw .other("GPU \(device) cannot be leased: \(reason)")
            }
            taken[device] = Lease(isShared: isShared, descriptor: descriptor)
        }
        let replaced = self.held.withLock { held in
            let before = taken.keys.compactMap { held[$0] }
            held.merge(taken) { $1 }
            return before
        }
        for lease in replaced { close(lease.descriptor) }
    }

    /// Takes over what a launcher before this one has leased, in the name of this one.
    ///
    /// - Parameter descriptors: its leases, which stay the caller's; those of other things are passed over.
    package func adopt(_ descriptors: [Int32]) {
        Self.recognise(descriptors)
        for holder in descriptors.compactMap({ AbstractName.of($0).flatMap { Holder(name: $0[...]) } }) {
            guard let descriptor = AbstractName.bind(self.name(of: holder.device, isShared: holder.isShared)) else {
                continue
            }
            let lease = Lease(isShared: holder.isShared, descriptor: descriptor)
            let replaced = self.held.withLock { $0.updateValue(lease, forKey: holder.device) }
            if let replaced { close(replaced.descriptor) }
        }
    }

    /// Whoever holds these is no other: they are of processes that this launcher has taken over.
    static func recognise(_ descriptors: [Int32]) {
        let holders = descriptors.compactMap { AbstractName.of($0).flatMap { Holder(name: $0[...]) } }
        self.predecessors.withLock { $0.formUnion(holders.map(\.launcher)) }
    }

    /// The devices that are leased.
    package var devices: Set<String> { self.held.withLock { Set($0.keys) } }

    /// Further descriptors of leases, which are the caller's.
    package func copies(of devices: Set<String>) -> [Int32] {
        self.held.withLock { held in
            held.filter { devices.contains($0.key) }.values.map { fcntl($0.descriptor, F_DUPFD_CLOEXEC, 0) }.filter {
                $0 >= 0
            }
        }
    }

    /// Gives back what is not among these.
    package func keep(_ devices: Set<String>) {
        let rest = self.held.withLock { held in
            let rest = held.filter { !devices.contains($0.key) }
            held = held.filter { devices.contains($0.key) }
            return rest
        }
        for lease in rest.values { close(lease.descriptor) }
    }

    /// Gives everything back.
    package func release() { self.keep([]) }

    /// Who holds devices, this launcher excepted.
    package static func others() -> [Holder] {
        let known = self.predecessors.withLock { $0 }
        return Self.holders(in: ProcessTable.read("/proc/net/unix") ?? []).filter {
            !($0.pid == getpid() && $0.token.hasPrefix(Self.launcher)) && !known.contains($0.launcher)
        }.map { holder in
            var holder = holder
            holder.isOrphaned = Self.isGone(holder.pid)
            return holder
        }
    }

    /// Whether there is no such process, as far as anybody may know it.
    private static func isGone(_ pid: Int32) -> Bool {
        if kill(pid, 0) < 0, errno == ESRCH { return true }
        return ProcessTable.entry(of: pid)?.isZombie ?? false
    }

    /// Takes the text of such a file.
    static func holders(in table: [UInt8]) -> [Holder] {
        table.split(separator: UInt8(ascii: "\n")).compactMap { line in
            let text = String(decoding: line, as: UTF8.self)
            return text.firstRange(of: "@\(Self.prefix)").flatMap {
                Holder(name: text[$0.lowerBound...].dropFirst())
            }
        }
    }

    private func name(of device: String, isShared: Bool) -> String {
        let begin = "\(Self.prefix)\(isShared ? "s" : "e")/\(getpid())/\(getuid())/\(self.token)/"
        let room = Self.longestName - begin.utf8.count - device.utf8.count - 1
        let deployment =
            self.deployment.utf8.count <= room ? self.deployment : "\(self.deployment.prefix(max(0, room - 1)))~"
        return "\(begin)\(deployment)/\(device)"
    }

    /// Only one launcher of the machine reads and binds at a time.
    private static func lock() async throws(Failure) -> Int32 {
        let deadline = ContinuousClock.now + .seconds(10)
        while true {
            if let descriptor = AbstractName.bind(Self.lockName) { return descriptor }
            let reason = errno
            guard reason == EADDRINUSE, ContinuousClock.now < deadline else {
                throw .other(
                    reason == EADDRINUSE
                        ? "another launcher has been choosing GPUs for 10 s (the socket @\(Self.lockName)); "
                            + "see whether it is suspended, and try again"
                        : "GPUs cannot be leased: \(errorText(reason))"
                )
            }
            do { try await Task.sleep(for: .milliseconds(5)) } catch { throw .other("interrupted") }
        }
    }

    private static func hexadecimal(_ number: UInt16) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: 4 - text.count) + text
    }
}

/// Names of Linux's abstract namespace.
enum AbstractName {
    /// The name that a socket holds; nil: none.
    static func of(_ descriptor: Int32) -> String? {
        var address = sockaddr_un()
        var length = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        let begin = MemoryLayout<sa_family_t>.size
        guard result == 0, address.sun_family == sa_family_t(AF_UNIX), Int(length) > begin + 1 else { return nil }
        let bytes = withUnsafeBytes(of: &address.sun_path) { Array($0.prefix(Int(length) - begin)) }
        return bytes[0] == 0 ? String(decoding: bytes.dropFirst(), as: UTF8.self) : nil
    }

    /// A socket that holds a name; nil, with `errno`, when there is none to be had.
    static func bind(_ name: String) -> Int32? {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        // A name whose first byte is 0 is not a file's.
        let bytes = [0] + Array(name.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes.prefix($0.count)) }
        let length = MemoryLayout<sa_family_t>.size + bytes.count
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(descriptor, $0, socklen_t(length))
            }
        }
        if result == 0 { return descriptor }
        let reason = errno
        close(descriptor)
        errno = reason
        return nil
    }
}

/// Users for people.
enum UserName {
    /// The name of a user, or the number where it has none.
    static func of(_ user: UInt32) -> String {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 4096)
        guard getpwuid_r(user, &entry, &buffer, buffer.count, &found) == 0, found != nil, let name = entry.pw_name
        else {
            return "\(user)"
        }
        return String(cString: name)
    }
}
