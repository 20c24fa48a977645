import Glibc
import Synchronization

/// The terminal while one view has all of it: keys come at once and are not shown, and what was there before comes back afterwards.
///
/// There is one terminal, so its state is the program's; it is given back also when the program ends by `exit`.
enum WholeScreen {
    private static let saved: Mutex<termios?> = Mutex(nil)
    private static let isCleanupRegistered = Atomic(false)

    private static let enterText = "\u{1B}[?1049h\u{1B}[?25l\u{1B}[2J"
    private static let leaveText = "\u{1B}[0m\u{1B}[?25h\u{1B}[?1049l"
    private static let home = "\u{1B}[H"
    private static let eraseLine = "\u{1B}[K"
    private static let eraseBelow = "\u{1B}[J"

    /// Whether standard input is a terminal that keys can be read from.
    static var hasKeys: Bool { isatty(STDIN_FILENO) == 1 }

    /// Takes the terminal, also once more: after a stop, a shell may have changed it.
    static func enter() {
        if !self.isCleanupRegistered.exchange(true, ordering: .relaxed) { atexit { WholeScreen.leave() } }
        self.saved.withLock { saved in
            var attributes = termios()
            // Without a terminal for keys there is nothing to change.
            guard tcgetattr(STDIN_FILENO, &attributes) == 0 else { return }
            saved = saved ?? attributes
            attributes.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG | IEXTEN)
            attributes.c_iflag &= ~tcflag_t(IXON | ICRNL | INLCR)
            withUnsafeMutableBytes(of: &attributes.c_cc) { bytes in
                bytes[Int(VMIN)] = 1
                bytes[Int(VTIME)] = 0
            }
            tcsetattr(STDIN_FILENO, TCSADRAIN, &attributes)
        }
        self.isTaken.store(true, ordering: .relaxed)
        Terminal.printVerbatim(self.enterText)
    }

    /// Gives the terminal back; does nothing when it was not taken.
    static func leave() {
        guard self.isTaken.exchange(false, ordering: .relaxed) else { return }
        Terminal.printVerbatim(self.leaveText)
        self.saved.withLock { saved in
            guard var attributes = saved else { return }
            tcsetattr(STDIN_FILENO, TCSADRAIN, &attributes)
            saved = nil
        }
    }

    /// Sends this thread a signal that it takes at once: threads of a pool have all signals blocked.
    static func raise(_ number: Int32) {
        var signals = sigset_t()
        var before = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, number)
        pthread_sigmask(SIG_UNBLOCK, &signals, &before)
        Glibc.raise(number)
        pthread_sigmask(SIG_SETMASK, &before, nil)
    }

    private static let isTaken = Atomic(false)

    /// Shows these lines and nothing else.
    ///
    /// - Parameter lines: no more than the terminal has, and narrower than it.
    static func show(_ lines: [String]) {
        // Nothing is erased before something is drawn over it, so that nothing flickers.
        let text = lines.map { $0 + self.eraseLine }.joined(separator: "\r\n")
        Terminal.printVerbatim(self.home + text + self.eraseBelow)
    }
}
