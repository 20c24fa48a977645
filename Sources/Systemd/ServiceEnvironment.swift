internal import Glibc

/// The variables through which a service manager speaks to the process that it starts.
package enum ServiceEnvironment {
    /// Meant for this process alone: a program that it starts must not get them, or it would speak in its name.
    package static let variables: Set<String> = [
        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "FDSTORE",
        "MAINPID", "MANAGERPID", "JOURNAL_STREAM",
    ]

    /// What the environment says about some variables, for messages.
    static func excerpt(_ names: String...) -> String {
        names.compactMap { (name: String) -> String? in
            guard let value = getenv(name) else { return nil }
            return "\(name)=\(String(cString: value))"
        }.joined(separator: " ")
    }
}
