internal import Deployment

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
        case .signalled(let signal): "killed by \(ProcessSignal.name(of: signal))"
        }
    }
}
