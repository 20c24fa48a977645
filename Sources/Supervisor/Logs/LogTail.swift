internal import Deployment
internal import Glibc

/// Reads the last lines of log files.
package enum LogTail {
    /// A log file, and whose it is.
    package struct Source: Sendable, Hashable {
        package var path: String
        package var process: String
        package var replica: String
        package var generation: Int

        package init(path: String, process: String, replica: String, generation: Int = 1) {
            self.path = path
            self.process = process
            self.replica = replica
            self.generation = generation
        }
    }

    /// The last lines of the replicas together, oldest first.
    static func lines(of indexes: [Int], in plan: Plan, count: Int) -> [LogLine] {
        let sources = indexes.map { index in
            let replica = plan.replicas[index]
            return Source(path: plan.logFile(of: replica), process: replica.process, replica: replica.name)
        }
        return self.lines(of: sources, count: count)
    }

    /// The last lines of some files together, oldest first.
    package static func lines(of sources: [Source], count: Int) -> [LogLine] {
        guard count > 0 else { return [] }
        var lines: [LogLine] = []
        for source in sources {
            lines += Self.records(in: source.path, count: count).compactMap { Self.parse($0, source) }
        }
        // Stable for equal times within one replica: they are in order already.
        let ordered = lines.enumerated().sorted { ($0.element.order, $0.offset) < ($1.element.order, $1.offset) }
        return ordered.suffix(count).map(\.element)
    }

    /// The last records of a file, read from its end, and of the one before it when that was just rotated.
    static func records(in path: String, count: Int) -> [[UInt8]] {
        let records = Self.lastRecords(in: path, count: count)
        guard records.count < count else { return records }
        return Self.lastRecords(in: "\(path).1", count: count - records.count) + records
    }

    private static func lastRecords(in path: String, count: Int) -> [[UInt8]] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var position = lseek(descriptor, 0, SEEK_END)
        var bytes: [UInt8] = []
        var newlines = 0
        while position > 0, newlines <= count {
            let size = min(position, 64 * 1024)
            position -= size
            var chunk = [UInt8](repeating: 0, count: Int(size))
            guard pread(descriptor, &chunk, chunk.count, position) == chunk.count else { break }
            newlines += chunk.count { $0 == UInt8(ascii: "\n") }
            bytes = chunk + bytes
        }
        return bytes.split(separator: UInt8(ascii: "\n")).suffix(count).map { Array($0) }
    }

    /// Reads one record of a log file: time, stream, `F` or `P`, text.
    static func parse(_ record: [UInt8], _ source: Source) -> LogLine? {
        guard record.count >= 34, let time = LogTime(ascii: record[..<24]) else { return nil }
        let stream = String(decoding: record[25..<31], as: UTF8.self)
        guard let stream = LogLine.Stream(rawValue: stream) else { return nil }
        return LogLine(
            process: source.process,
            replica: source.replica,
            generation: source.generation,
            stream: stream,
            time: time,
            text: String(decoding: record[34...], as: UTF8.self),
            isPartial: record[32] == UInt8(ascii: "P")
        )
    }
}

extension LogLine {
    fileprivate var order: Int64 { self.time.milliseconds }
}

extension LogTime {
    /// Reads the form that `ascii` writes.
    init?(ascii: ArraySlice<UInt8>) {
        let numbers = ascii.split { !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            .compactMap { Int(String(decoding: $0, as: UTF8.self)) }
        guard numbers.count == 7, (1...12).contains(numbers[1]), (1...31).contains(numbers[2]) else { return nil }
        let year = numbers[1] <= 2 ? numbers[0] - 1 : numbers[0]
        let era = year / 400
        let yearOfEra = year - era * 400
        let month = numbers[1] > 2 ? numbers[1] - 3 : numbers[1] + 9
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + (153 * month + 2) / 5 + numbers[2] - 1
        let days = era * 146_097 + dayOfEra - 719_468
        let seconds = ((days * 24 + numbers[3]) * 60 + numbers[4]) * 60 + numbers[5]
        self.init(milliseconds: Int64(seconds) * 1000 + Int64(numbers[6]))
        // Any other way of writing these numbers is not ours.
        guard self.ascii[...] == ascii else { return nil }
    }
}
