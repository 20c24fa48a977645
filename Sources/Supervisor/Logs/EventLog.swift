internal import FoundationEssentials
internal import Glibc
internal import Synchronization

/// Something that the launcher said of the deployment.
package struct LaunchEvent: Sendable, Hashable, Codable {
    package enum Level: String, Sendable, Hashable, Codable, CaseIterable, Comparable {
        case info, notice, warning, error

        package static func < (first: Self, second: Self) -> Bool {
            (self.allCases.firstIndex(of: first) ?? 0) < (self.allCases.firstIndex(of: second) ?? 0)
        }
    }

    /// As in `2026-01-31T12:00:00.123Z`.
    package var time: String
    package var level: Level
    package var generation: Int
    /// The replica that it is about, if it is about one.
    package var replica: String?
    package var message: String

    package init(_ message: String, level: Level, generation: Int, replica: String? = nil, time: LogTime = .now) {
        self.time = "\(time)"
        self.level = level
        self.generation = generation
        self.replica = replica
        self.message = message
    }
}

/// The file that keeps what happened to a deployment, and why, from one start to the next: a JSON object a line.
package final class EventLog: Sendable {
    private let file: Mutex<LogFile>

    /// So large is the file at most, and there is one older one.
    private static let sizeLimit = 4 << 20

    /// - Parameter path: the file; it is made with the first event.
    package init(path: String) {
        self.file = Mutex(
            LogFile(path: path, sizeLimit: Self.sizeLimit, generations: 2) { lost in
                Self.line(
                    LaunchEvent(
                        "\(lost) events were lost here: this file could not be written",
                        level: .warning,
                        generation: 1
                    )
                )
            }
        )
    }

    private static func line(_ event: LaunchEvent) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return ((try? encoder.encode(event)).map { Array($0) } ?? []) + [UInt8(ascii: "\n")]
    }

    /// Writes an event.
    ///
    /// What a full disk does not take is kept, up to 256 KiB, and written with a later event; what was lost is counted in the file.
    ///
    /// - Parameter event: what happened.
    /// - Returns: why it cannot be written, when that began with this one.
    package func append(_ event: LaunchEvent) -> String? {
        let line = Self.line(event)
        return self.file.withLock { file in
            if case .failed(let reason) = file.append([line], at: .now) {
                "\(file.path) cannot be written: \(reason)"
            } else {
                nil
            }
        }
    }

    /// The events of a file that are wanted, oldest first.
    ///
    /// - Parameters:
    ///   - path: the file; what was put away from it is read too.
    ///   - count: so many of the last ones.
    ///   - isWanted: whether one is.
    /// - Returns: them, and who reads on from there.
    package static func events(
        in path: String,
        last count: Int,
        where isWanted: (LaunchEvent) -> Bool
    ) -> (events: [LaunchEvent], reader: EventReader) {
        var reader = EventReader(path: path)
        let current = reader.next()
        let older = reader.putAway()
        return (Array((older + current).filter(isWanted).suffix(count)), reader)
    }
}

/// Reads what is added to an event log.
package struct EventReader: Sendable {
    private let path: String
    /// The file's number; another one comes when it is put away.
    private var identity: UInt64?
    private(set) var offset: Int

    /// - Parameters:
    ///   - path: the file.
    ///   - offset: where it was read to.
    package init(path: String, offset: Int = 0) {
        self.path = path
        self.offset = offset
    }

    /// The events that were added since.
    package mutating func next() -> [LaunchEvent] {
        let (descriptor, identity, end) = Self.open(self.path)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var rest: [LaunchEvent] = []
        if let known = self.identity, known != identity {
            // What came before it was put away.
            let (old, number, end) = Self.open("\(self.path).1")
            if old >= 0 {
                defer { close(old) }
                if number == known { rest = self.read(old, to: end) }
            }
            self.offset = 0
        }
        // Deleted and made anew under the same number.
        if end < self.offset { self.offset = 0 }
        self.identity = identity
        return rest + self.read(descriptor, to: end)
    }

    /// The events of the file that was put away before the one that is read; none when that is the one itself, by now.
    func putAway() -> [LaunchEvent] {
        let (descriptor, identity, end) = Self.open("\(self.path).1")
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        guard identity != self.identity else { return [] }
        var reader = EventReader(path: self.path)
        return reader.read(descriptor, to: end)
    }

    private static func open(_ path: String) -> (descriptor: Int32, identity: UInt64, size: Int) {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) == 0 else { return (descriptor, 0, 0) }
        return (descriptor, UInt64(status.st_ino), Int(status.st_size))
    }

    private mutating func read(_ descriptor: Int32, to end: Int) -> [LaunchEvent] {
        let size = end - self.offset
        guard size > 0 else { return [] }
        var bytes = [UInt8](repeating: 0, count: size)
        let count = pread(descriptor, &bytes, size, off_t(self.offset))
        // A line that is only begun is read the next time.
        guard count > 0, let end = bytes[..<count].lastIndex(of: UInt8(ascii: "\n")) else { return [] }
        self.offset += end + 1
        return Self.decode(bytes[...end])
    }

    static func decode(_ bytes: some Collection<UInt8>) -> [LaunchEvent] {
        let decoder = JSONDecoder()
        return bytes.split(separator: UInt8(ascii: "\n")).compactMap {
            try? decoder.decode(LaunchEvent.self, from: Data($0))
        }
    }
}
