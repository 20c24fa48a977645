import FoundationEssentials
import Glibc

/// The two streams of the program and what is known about them.
enum Terminal {
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

    /// A reader that went away (a closed pipe) is not an error of ours: the rest is dropped and the deployment goes on.
    private static func write(_ text: String, to descriptor: Int32) {
        var text = text
        text.withUTF8 { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let written =
                    rest.withContiguousStorageIfAvailable { Glibc.write(descriptor, $0.baseAddress, $0.count) } ?? -1
                if written > 0 {
                    rest = rest.dropFirst(written)
                } else if written < 0, errno == EINTR {
                    continue
                } else if written < 0, errno == EAGAIN {
                    var poller = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&poller, 1, 1000)
                } else {
                    return
                }
            }
        }
    }
}
