import Systemd

/// The public sockets that are open already when a launcher starts.
struct PassedSockets: Sendable, Equatable {
    /// From a socket unit or `systemd-socket-activate`.
    var activated: [ListenDescriptor]
    /// From the launcher before this one, which left them with the service manager.
    var stored: [ListenDescriptor]

    init(activated: [ListenDescriptor] = [], stored: [ListenDescriptor] = []) {
        self.activated = activated
        self.stored = stored
    }

    /// Takes them out of the environment; before other threads look at it.
    ///
    /// - Throws: `SystemdError` when what was passed cannot be listened on.
    static func take() throws(SystemdError) -> PassedSockets {
        let all = try ListenDescriptors.take()
        return PassedSockets(
            activated: all.filter { !$0.name.hasPrefix(self.mark) },
            stored: all.filter { $0.name.hasPrefix(self.mark) }
        )
    }

    /// In front of the names of sockets that a launcher has left.
    private static let mark = "dynamo-launch/public/"

    /// The name under which the service manager keeps the socket of an address.
    ///
    /// It holds the address as the manifest has it, so that a socket of another address is known by its name.
    static func name(host: String, port: Int) -> String { "\(self.mark)tcp/\(self.plain(host))/\(port)" }

    /// The same for a Unix socket.
    static func name(path: String) -> String { "\(self.mark)unix/\(self.plain(path))" }

    /// Only what a service manager takes in a name.
    private static func plain(_ text: String) -> String {
        String(
            text.unicodeScalars.prefix(200).map { (0x21...0x7E).contains($0.value) && $0 != ":" ? Character($0) : "_" }
        )
    }
}
