/// A signal of Linux, by name.
package struct ProcessSignal: Sendable, Hashable {
    /// Those that may ask a process to end.
    static let ending: [Int32] = [15, 2, 3, 1, 10, 12, 9]

    private static let names: [Int32: String] = [
        1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
        9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM",
        16: "SIGSTKFLT", 17: "SIGCHLD", 18: "SIGCONT", 19: "SIGSTOP", 20: "SIGTSTP", 21: "SIGTTIN", 22: "SIGTTOU",
        23: "SIGURG", 24: "SIGXCPU", 25: "SIGXFSZ", 26: "SIGVTALRM", 27: "SIGPROF", 28: "SIGWINCH", 29: "SIGIO",
        30: "SIGPWR", 31: "SIGSYS",
    ]

    package let number: Int32
    package var name: String { Self.name(of: self.number) }

    /// From `SIGTERM`, `TERM`, in any case, or `15`.
    package init?(_ text: String) {
        let name = text.uppercased()
        let found = Self.names.first { $1 == name || $1 == "SIG\(name)" || String($0) == text }
        guard let found else { return nil }
        self.number = found.key
    }

    /// The same, in capitals as in the manifest's schema, of those that may ask a process to end.
    init?(ending text: String) {
        self.init(text)
        guard Self.ending.contains(self.number), text == text.uppercased() else { return nil }
    }

    /// In words, also for one that has no name.
    package static func name(of number: Int32) -> String { self.names[number] ?? "signal \(number)" }

    /// All names, by number.
    package static var all: [String] { self.names.sorted { $0.key < $1.key }.map(\.value) }
}
