internal import CProcess
internal import Glibc

/// The socket on which one run of a replica says how it is: its `NOTIFY_SOCKET` (`sd_notify(3)`).
struct NotifySocket: Sendable {
    let descriptor: Int32
    let path: String

    static let variable = "NOTIFY_SOCKET"

    /// Makes the socket.
    ///
    /// - Parameter path: a path in a folder that only its owner can enter.
    /// - Throws: `Failure` when it cannot be made.
    init(path: String) throws(Failure) {
        var descriptor: Int32 = -1
        let error = dynamo_notify_socket(path, &descriptor)
        guard error == 0 else { throw Failure(path: path, errno: error) }
        self.descriptor = descriptor
        self.path = path
    }

    /// One that an earlier launcher made.
    ///
    /// - Parameters:
    ///   - descriptor: it, which becomes ours.
    ///   - path: where it was made.
    init(adopted descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    /// The next message and who sent it (0: unknown); nil when there is none.
    func receive(into buffer: UnsafeMutableRawBufferPointer) -> (message: NotifyMessage, sender: Int32)? {
        var sender: pid_t = 0
        let size = dynamo_notify_receive(self.descriptor, buffer.baseAddress, buffer.count, &sender)
        guard size >= 0 else { return nil }
        return (NotifyMessage(buffer[..<min(size, buffer.count)]), sender)
    }

    func close() {
        Glibc.close(self.descriptor)
        unlink(self.path)
    }

    /// The socket cannot be made.
    struct Failure: Error, CustomStringConvertible {
        var path: String
        var errno: Int32

        var description: String {
            let remedy =
                self.errno == ENAMETOOLONG ? "; set XDG_RUNTIME_DIR to a folder with a shorter name" : ""
            return "cannot make its NOTIFY_SOCKET \(self.path): \(errorText(self.errno))\(remedy)"
        }
    }
}

/// What a process says about itself, as far as it matters here.
struct NotifyMessage: Sendable, Hashable {
    var isReady = false
    /// One line for people.
    var status: String?

    /// No more is shown.
    static let longestStatus = 200

    init(isReady: Bool = false, status: String? = nil) {
        self.isReady = isReady
        self.status = status
    }

    /// Reads a message: one assignment a line; what is not known is left out.
    init(_ bytes: some Sequence<UInt8>) {
        for line in Array(bytes).split(separator: UInt8(ascii: "\n")) {
            if line.elementsEqual("READY=1".utf8) {
                self.isReady = true
            } else if line.starts(with: "STATUS=".utf8) {
                let text = String(decoding: line.dropFirst("STATUS=".utf8.count), as: UTF8.self)
                let shown = text.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7F }
                self.status = String(String(String.UnicodeScalarView(shown)).prefix(Self.longestStatus)).trimmed
            }
        }
    }

    /// What several messages say together.
    mutating func add(_ later: NotifyMessage) {
        self.isReady = self.isReady || later.isReady
        self.status = later.status ?? self.status
    }
}

extension ProcessTable {
    /// Whether a process belongs to a replica: it is the leader, is in its session, carries its mark, or descends from it.
    static func isProcess(_ pid: Int32, of leader: Int32, marker: String) -> Bool {
        var next = pid
        // Deeper than any real tree.
        for _ in 0..<64 {
            if next == leader { return true }
            guard next > 1, let entry = Self.entry(of: next) else { return false }
            if entry.session == leader || next == pid && Self.variable(StrayFinder.marker, of: pid) == marker {
                return true
            }
            next = entry.parent
        }
        return false
    }
}
