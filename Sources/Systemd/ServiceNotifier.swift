internal import CSystemd
internal import Glibc

/// Tells the service manager about the state of this process (`sd_notify(3)`).
///
/// Every call answers `.notManaged` and does nothing else when the process was not started by a service manager, that is, when
/// `NOTIFY_SOCKET` is not set. All states of one call go in one message, which the service manager takes as a whole.
package struct ServiceNotifier: Sendable {
    /// One thing to say.
    package enum State: Sendable, Hashable {
        /// The service serves: units ordered after this one may start.
        case ready
        /// A line for people, shown by `systemctl status`; more lines become one.
        case status(String)
        /// Starting, reloading or stopping is on its way: from now, it may take so long until the next word.
        case extendTimeout(Duration)
        /// The configuration is being read again; must be followed by `ready`.
        case reloading
        /// The service is being taken down.
        case stopping
        /// What the service failed of, as an error number of the system.
        case errno(Int32)
        /// What the process will exit with (read since systemd 254; shown to nobody before).
        case exitStatus(Int32)
        /// Another process is the service's main one from now on.
        case mainPID(Int32)
        /// The service is alive; see `Watchdog`.
        case watchdog
    }

    /// What became of a message.
    package enum Outcome: Sendable, Hashable {
        case sent
        /// Nobody wants to know.
        case notManaged
        /// The message did not go out, for this reason.
        case failed(String)
    }

    /// Creates a notifier for the service manager that started this process, if any.
    package init() {}

    /// Whether a service manager wants to know.
    package var isManaged: Bool { getenv("NOTIFY_SOCKET") != nil }

    /// The deployment serves: units ordered after this one may start.
    @discardableResult
    package func ready(status: String) -> Outcome { self.send(.ready, .status(status)) }

    /// A line for people, shown by `systemctl status`.
    @discardableResult
    package func status(_ status: String) -> Outcome { self.send(.status(status)) }

    /// The deployment's configuration is being read again.
    ///
    /// Carries the monotonic time, without which a service of `Type=notify-reload` (systemd 253 and newer) never leaves
    /// reloading.
    @discardableResult
    package func reloading(status: String) -> Outcome { self.send(.reloading, .status(status)) }

    /// The deployment is being taken down.
    @discardableResult
    package func stopping(status: String) -> Outcome { self.send(.stopping, .status(status)) }

    /// The service ends because of a failure.
    @discardableResult
    package func failed(status: String, errno: Int32? = nil, exitStatus: Int32) -> Outcome {
        var states: [State] = [.status(status), .exitStatus(exitStatus)]
        if let errno { states.append(.errno(errno)) }
        return self.send(states)
    }

    /// The service is alive.
    @discardableResult
    package func watchdog() -> Outcome { self.send(.watchdog) }

    /// Says several things at once.
    @discardableResult
    package func send(_ states: State...) -> Outcome { self.send(states) }

    /// Says several things at once.
    @discardableResult
    package func send(_ states: [State]) -> Outcome {
        let result = sd_notify(0, Self.message(states))
        if result > 0 { return .sent }
        if result == 0 { return .notManaged }
        return .failed("the service manager cannot be told: \(String(cString: strerror(-result)))")
    }

    /// The text of a message: one assignment a line.
    ///
    /// - Parameter states: what to say.
    /// - Returns: what is sent.
    static func message(_ states: [State]) -> String {
        states.map { state in
            switch state {
            case .ready: "READY=1"
            case .status(let text): "STATUS=\(self.oneLine(text))"
            case .extendTimeout(let duration): "EXTEND_TIMEOUT_USEC=\(duration.microseconds)"
            case .reloading: "RELOADING=1\nMONOTONIC_USEC=\(self.monotonicMicroseconds())"
            case .stopping: "STOPPING=1"
            case .errno(let number): "ERRNO=\(number)"
            case .exitStatus(let code): "EXIT_STATUS=\(code)"
            case .mainPID(let pid): "MAINPID=\(pid)"
            case .watchdog: "WATCHDOG=1"
            }
        }.joined(separator: "\n")
    }

    /// A line break would begin another assignment.
    private static func oneLine(_ text: String) -> String {
        String(text.map { $0.isNewline || $0 == "\0" ? " " : $0 })
    }

    /// The clock that the service manager compares with: CLOCK_MONOTONIC.
    private static func monotonicMicroseconds() -> UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1000
    }
}

extension Duration {
    /// Whole microseconds; nothing below zero, and no more than a 64-bit number holds.
    var microseconds: Int64 {
        let (seconds, attoseconds) = self.components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        guard seconds < Int64.max / 1_000_000 else { return .max }
        return seconds * 1_000_000 + attoseconds / 1_000_000_000_000
    }
}
