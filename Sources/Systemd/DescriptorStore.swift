internal import CSystemd
internal import Glibc

/// Descriptors that the service manager keeps for the next process of this service (`FileDescriptorStoreMax=` in the unit).
///
/// They come back through `ListenDescriptors` under the name they were given, after a crash or a restart; `systemctl stop` drops
/// them.
package struct DescriptorStore: Sendable {
    package init() {}

    /// Hands a copy of a descriptor to the service manager; ours stays open.
    ///
    /// The same descriptor handed over again is kept once. When the unit allows no more descriptors, the service manager closes
    /// its copy without a word.
    ///
    /// - Parameters:
    ///   - descriptor: an open one.
    ///   - name: what it comes back under.
    /// - Throws: `SystemdError` when there is no service manager, the name is none, or the message did not go out.
    package func store(_ descriptor: Int32, name: String) throws(SystemdError) {
        try Self.check(name)
        var descriptor = descriptor
        let result = sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=\(name)", &descriptor, 1)
        try Self.check(result, "descriptor \(descriptor) ('\(name)') cannot be handed to the service manager")
    }

    /// Makes the service manager drop all descriptors of a name; returns when it has.
    ///
    /// - Parameter name: the name.
    /// - Throws: `SystemdError` when there is no service manager, the name is none, or the message did not go out.
    package func remove(name: String) throws(SystemdError) {
        try Self.check(name)
        let result = sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=\(name)")
        let what = "the service manager cannot be told to drop descriptor '\(name)'"
        try Self.check(result, what)
        try Self.check(sd_notify_barrier(0, Self.patience), what)
    }

    /// Microseconds that the service manager may take to read what it was told.
    private static let patience: UInt64 = 5_000_000

    private static func check(_ result: Int32, _ what: String) throws(SystemdError) {
        if result > 0 { return }
        if result == 0 { throw SystemdError(.notManaged, "\(what): no service manager started this process") }
        throw SystemdError(.system, "\(what): \(String(cString: strerror(-result)))")
    }

    /// The service manager's own rule (`FileDescriptorName=` in `systemd.socket(5)`).
    private static func check(_ name: String) throws(SystemdError) {
        let isValid =
            !name.isEmpty && name.utf8.count <= 255
            && name.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != UInt8(ascii: ":") }
        guard isValid else {
            throw SystemdError(
                .badName,
                "'\(name)' is no name for a descriptor: 1 to 255 printable ASCII characters without ':'"
            )
        }
    }
}
