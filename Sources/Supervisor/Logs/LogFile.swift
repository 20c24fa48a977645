internal import Glibc

/// A log file that is rotated by size, and that neither blocks nor fails when the disk is full: the last lines are kept in memory
/// and written once it works again, and what had to be dropped is counted.
///
/// A file that somebody deletes is made anew with the next line, and its folder too.
struct LogFile {
    /// What the caller should tell people.
    enum Change: Equatable {
        case failed(reason: String)
        case recovered(lostLines: Int)
    }

    /// The system calls, so that tests can let them fail.
    struct Calls {
        /// Returns a descriptor or a negated errno.
        var open: (String) -> Int32 = { DirectoryMaker.open($0, O_WRONLY | O_CREAT | O_APPEND) }
        /// Returns the number of bytes written or a negated errno.
        var write: (Int32, UnsafeRawBufferPointer) -> Int = { descriptor, bytes in
            let count = Glibc.write(descriptor, bytes.baseAddress, bytes.count)
            return count < 0 ? -Int(errno) : count
        }
    }

    static let retryEvery: Duration = .seconds(1)

    let path: String
    let sizeLimit: Int
    let generations: Int
    let backlogLimit: Int
    private let calls: Calls
    /// What stands in the place of so many lines that were lost.
    private let marker: @Sendable (Int) -> [UInt8]
    private var descriptor: Int32 = -1
    private var size = 0
    /// Whole lines that could not be written yet, oldest first.
    private var backlog: [[UInt8]] = []
    private var backlogBytes = 0
    private var lostLines = 0
    /// Lost lines that the file says already, since the failure began.
    private var markedLines = 0
    /// Set while writing fails.
    private var retryAt: ContinuousClock.Instant?

    init(
        path: String,
        sizeLimit: Int = 16 << 20,
        generations: Int = 4,
        backlogLimit: Int = 256 << 10,
        calls: Calls = Calls(),
        marker: @escaping @Sendable (Int) -> [UInt8] = Self.marker
    ) {
        self.path = path
        self.sizeLimit = sizeLimit
        self.generations = generations
        self.backlogLimit = backlogLimit
        self.calls = calls
        self.marker = marker
    }

    /// Writes lines (each with its end).
    mutating func append(_ lines: [[UInt8]], at now: ContinuousClock.Instant) -> Change? {
        guard !lines.isEmpty else { return nil }
        if let retryAt = self.retryAt {
            self.keep(lines)
            return now < retryAt ? nil : self.retry(at: now)
        }
        if let failure = self.write(lines) { return self.fail(failure, at: now) }
        return nil
    }

    /// Tries again to write what is kept, when it is time to.
    mutating func retryIfDue(at now: ContinuousClock.Instant) -> Change? {
        guard let retryAt = self.retryAt, now >= retryAt else { return nil }
        return self.retry(at: now)
    }

    mutating func close() {
        if self.descriptor >= 0 { Glibc.close(self.descriptor) }
        self.descriptor = -1
    }

    private mutating func retry(at now: ContinuousClock.Instant) -> Change? {
        self.retryAt = now + Self.retryEvery
        // The reason may be a folder or a file that was taken away, so the file is opened anew.
        self.close()
        if self.lostLines > 0 {
            let kept = (self.backlog, self.backlogBytes, self.lostLines)
            if self.write([self.marker(self.lostLines)]) != nil {
                // The marker is made anew next time, with the count of then.
                (self.backlog, self.backlogBytes, self.lostLines) = kept
                return nil
            }
            self.markedLines += self.lostLines
            self.lostLines = 0
        }
        let lines = self.backlog
        self.backlog = []
        self.backlogBytes = 0
        if self.write(lines) != nil { return nil }
        defer { self.markedLines = 0 }
        self.retryAt = nil
        return .recovered(lostLines: self.markedLines)
    }

    private mutating func fail(_ code: Int32, at now: ContinuousClock.Instant) -> Change {
        self.retryAt = now + Self.retryEvery
        return .failed(reason: errorText(code))
    }

    private mutating func keep(_ lines: [[UInt8]]) {
        self.backlog += lines
        self.backlogBytes += lines.reduce(0) { $0 + $1.count }
        var dropped = 0
        while self.backlogBytes > self.backlogLimit, dropped < self.backlog.count {
            self.backlogBytes -= self.backlog[dropped].count
            dropped += 1
        }
        self.backlog.removeFirst(dropped)
        self.lostLines += dropped
    }

    /// Returns the errno of a failure; what was not written is kept.
    private mutating func write(_ lines: [[UInt8]]) -> Int32? {
        // Nobody could read what is written to a file without a name.
        let deleted = self.isDeleted ? self.descriptor : -1
        if deleted >= 0 { self.descriptor = -1 }
        // Closed after the new one is open: whoever reads on knows a new file by its number, which must be another one.
        defer { if deleted >= 0 { Glibc.close(deleted) } }
        if self.descriptor < 0 {
            let descriptor = self.calls.open(self.path)
            guard descriptor >= 0 else {
                self.keep(lines)
                return -descriptor
            }
            self.descriptor = descriptor
            self.size = max(0, Int(lseek(descriptor, 0, SEEK_END)))
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(lines.reduce(0) { $0 + $1.count })
        for line in lines { bytes.append(contentsOf: line) }
        if self.size > 0, self.size + bytes.count > self.sizeLimit { self.rotate() }
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes {
                self.calls.write(self.descriptor, UnsafeRawBufferPointer(rebasing: $0[offset...]))
            }
            if count == -Int(EINTR) { continue }
            guard count > 0 else {
                self.size += offset
                self.keepUnwritten(lines, written: offset)
                return count == 0 ? ENOSPC : Int32(-count)
            }
            offset += count
        }
        self.size += bytes.count
        return nil
    }

    private var isDeleted: Bool {
        var status = stat()
        return self.descriptor >= 0 && fstat(self.descriptor, &status) == 0 && status.st_nlink == 0
    }

    private mutating func keepUnwritten(_ lines: [[UInt8]], written: Int) {
        var position = 0
        var rest: [[UInt8]] = []
        for line in lines {
            if position + line.count > written { rest.append(Array(line.dropFirst(max(0, written - position)))) }
            position += line.count
        }
        self.keep(rest)
    }

    /// `x.log` becomes `x.log.1`, and so on; the oldest is dropped.
    private mutating func rotate() {
        self.close()
        for number in stride(from: self.generations - 1, through: 1, by: -1) {
            rename(number == 1 ? self.path : "\(self.path).\(number - 1)", "\(self.path).\(number)")
        }
        if self.generations <= 1 { unlink(self.path) }
        let descriptor = self.calls.open(self.path)
        // On failure the next write opens again and reports.
        self.descriptor = descriptor
        self.size = 0
    }

    static func marker(lost: Int) -> [UInt8] {
        LogTime.now.ascii
            + Array(" stderr F [dynamo-launch] \(lost) lines were lost here: the log could not be written\n".utf8)
    }
}

extension LogLine {
    /// The line as it stands in the file, in the format of Kubernetes container logs: time, stream, `F`ull or `P`artial, text.
    static func fileRecord(time: [UInt8], stream: Stream, line: LineSplitter.Line) -> [UInt8] {
        var record: [UInt8] = []
        record.reserveCapacity(time.count + line.bytes.count + 12)
        record += time
        record += stream == .stdout ? Array(" stdout ".utf8) : Array(" stderr ".utf8)
        record += line.isPartial ? Array("P ".utf8) : Array("F ".utf8)
        record += line.bytes
        record.append(UInt8(ascii: "\n"))
        return record
    }
}
