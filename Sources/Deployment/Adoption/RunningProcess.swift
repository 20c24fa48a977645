/// What the system tells of one running process.
package struct RunningProcess: Sendable, Hashable {
    /// An address that it listens on.
    package struct Listener: Sendable, Hashable, Comparable {
        /// As text, without brackets.
        package var host: String
        package var port: Int

        package init(host: String, port: Int) {
            self.host = host
            self.port = port
        }

        package static func < (lhs: Self, rhs: Self) -> Bool { (lhs.port, lhs.host) < (rhs.port, rhs.host) }
    }

    package var pid: Int32
    package var parent: Int32
    /// Field 22 of its stat line; with the pid it names the process for good.
    package var startTime: UInt64
    package var arguments: [String]
    /// nil: it may not be read.
    package var environment: [String: String]?
    package var workingDirectory: String?
    /// The file that runs, with symbolic links resolved.
    package var executable: String?
    package var listeners: [Listener]
    /// The systemd unit that it belongs to.
    package var unit: Unit?
    /// The first argument as a path, looked up on the process's own PATH; links are not followed.
    package var program: String?
    /// The command line of its parent; empty: unknown.
    package var parentArguments: [String]

    /// A service of systemd.
    package struct Unit: Sendable, Hashable {
        package var name: String
        /// Whether it belongs to a user's service manager.
        package var isUser: Bool

        package init(name: String, isUser: Bool) {
            self.name = name
            self.isUser = isUser
        }

        /// From the path of a control group, such as `/user.slice/.../user@1000.service/app.slice/chat.service`.
        ///
        /// Nil when the innermost unit is no service.
        ///
        /// - Parameter group: the path.
        package init?(controlGroup group: String) {
            let parts = group.split(separator: "/")
            // A service may have control groups of its own below.
            guard let index = parts.lastIndex(where: { $0.hasSuffix(".service") }), !parts[index].hasPrefix("user@")
            else { return nil }
            guard !parts[(index + 1)...].contains(where: { $0.hasSuffix(".scope") || $0.hasSuffix(".slice") }) else {
                return nil
            }
            self.init(
                name: String(parts[index]),
                isUser: parts[..<index].contains { $0.hasPrefix("user@") }
            )
        }
    }

    package init(
        pid: Int32,
        parent: Int32 = 1,
        startTime: UInt64 = 0,
        arguments: [String],
        environment: [String: String]? = [:],
        workingDirectory: String? = nil,
        executable: String? = nil,
        listeners: [Listener] = [],
        unit: Unit? = nil,
        program: String? = nil,
        parentArguments: [String] = []
    ) {
        self.pid = pid
        self.parent = parent
        self.startTime = startTime
        self.arguments = arguments
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.executable = executable
        self.listeners = listeners
        self.unit = unit
        self.program = program
        self.parentArguments = parentArguments
    }
}
