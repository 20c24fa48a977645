import CSystemd

/// Tells the service manager about the state of this process (`sd_notify(3)`).
///
/// Every call is a no-op when the process was not started by a service manager, that is, when `NOTIFY_SOCKET` is not set.
package struct ServiceNotifier: Sendable {
    /// Creates a notifier for the service manager that started this process, if any.
    package init() {}

    /// The deployment serves: units ordered after this one may start.
    package func ready(status: String) { self.send("READY=1\nSTATUS=\(status)") }

    /// A line for people, shown by `systemctl status`.
    package func status(_ status: String) { self.send("STATUS=\(status)") }

    /// The deployment is being taken down.
    package func stopping(status: String) { self.send("STOPPING=1\nSTATUS=\(status)") }

    private func send(_ state: String) {
        _ = sd_notify(0, state)
    }
}
