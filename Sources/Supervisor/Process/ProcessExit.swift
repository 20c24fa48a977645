/// How a process ended.
package enum ProcessExit: Sendable, Hashable {
    case exited(Int32)
    case signalled(Int32)

    package init(waitStatus: Int32) {
        let signal = waitStatus & 0x7f
        self = signal == 0 ? .exited((waitStatus >> 8) & 0xff) : .signalled(signal)
    }

    /// Whether the process says that it did its work.
    package var isSuccess: Bool { self == .exited(0) }

    /// The code that a shell would give: 128 + n for signal n.
    package var shellCode: Int32 {
        switch self {
        case .exited(let code): code
        case .signalled(let signal): 128 + signal
        }
    }

    /// In words, for people: `exit code 3`, `killed by SIGKILL`.
    package var words: String {
        switch self {
        case .exited(let code): "exit code \(code)"
        case .signalled(let signal): "killed by \(SignalName.name(of: signal))"
        }
    }
}

/// Names of signals, for messages.
package enum SignalName {
    package static func name(of signal: Int32) -> String {
        let names: [Int32: String] = [
            1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
            9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM",
            24: "SIGXCPU", 25: "SIGXFSZ", 31: "SIGSYS",
        ]
        return names[signal] ?? "signal \(signal)"
    }
}
