import FoundationEssentials
import Glibc
import Synchronization

/// The two streams of the program and what is known about them.
enum Terminal {
    /// Opens the streams that whoever started the program has closed; else something of the program's own would get their numbers.
    ///
    /// To be called before anything is opened.
    static func open() {
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 {
            // The lowest number that is free is this one.
            _ = Glibc.open("/dev/null", descriptor == STDIN_FILENO ? O_RDONLY : O_WRONLY)
        }
    }

    /// Writes a line to standard output.
    static func print(_ line: String) { self.write(line + "\n", to: STDOUT_FILENO) }

    /// Writes text that has its own line ends to standard output.
    static func printVerbatim(_ text: String) { self.write(text, to: STDOUT_FILENO) }

    /// Writes a line to standard error.
    static func printError(_ line: String) { self.write(line + "\n", to: STDERR_FILENO) }

    /// Whether colour may be used: a terminal that is not dumb, and `NO_COLOR` unset or empty.
    static func colour(on descriptor: Int32, environment: [String: String]) -> Bool {
        isatty(descriptor) == 1 && environment["NO_COLOR", default: ""].isEmpty && environment["TERM"] != "dumb"
    }

    /// From now on a reader that takes nothing for a second is given up: it must not keep a deployment from ending.
    static func hurry() { self.isHurried.store(true, ordering: .relaxed) }

    /// Whether standard output is a pipe that nobody reads any more.
    static var isReaderGone: Bool {
        var poller = pollfd(fd: STDOUT_FILENO, events: 0, revents: 0)
        return poll(&poller, 1, 0) > 0 && poller.revents & Int16(POLLERR) != 0
    }

    private static let isHurried = Atomic<Bool>(false)
    private static let abandoned: Mutex<Set<Int32>> = Mutex([])

    /// A pipe that is ready takes so many bytes without blocking (`PIPE_BUF`).
    private static let pieceSize = 4096

    /// A reader that went away (a closed pipe) is not an error of ours: the rest is dropped and the deployment goes on.
    private static func write(_ text: String, to descriptor: Int32) {
        var text = text
        text.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)[...]
            while !rest.isEmpty, self.awaitReader(of: descriptor) {
                let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(self.pieceSize))
                let written = Glibc.write(descriptor, piece.baseAddress, piece.count)
                if written > 0 {
                    rest = rest.dropFirst(written)
                } else if errno != EINTR, errno != EAGAIN {
                    return
                }
            }
        }
    }

    /// Waits until a piece can be written; false when the reader is given up.
    private static func awaitReader(of descriptor: Int32) -> Bool {
        if self.abandoned.withLock({ $0.contains(descriptor) }) { return false }
        var poller = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        var idle = 0
        while poll(&poller, 1, 100) == 0 {
            guard self.isHurried.load(ordering: .relaxed) else { continue }
            idle += 1
            if idle == 10 {
                self.abandoned.withLock { _ = $0.insert(descriptor) }
                return false
            }
        }
        return true
    }
}
