internal import CProcess
internal import Glibc

/// What a pipe had and the log may not have yet, in memory that the keeper shares: when the launcher dies, the next one goes on
/// with it, and no line is lost, doubled or cut.
struct LogSpool: Sendable {
    /// What an earlier launcher and the keeper left.
    struct Leftover: Sendable, Equatable {
        var bytes: [UInt8]
        /// So many of them may stand in the log already: it was being written.
        var doubtful: Int
        /// So many more had no room.
        var dropped: UInt64
    }

    /// Beyond this the memory is used from its start again.
    private static let turn = 1 << 20

    let descriptor: Int32
    // Both never change; the memory behind them is one reader's at a time, the pump's or, when the launcher is gone, the keeper's.
    private nonisolated(unsafe) let spool: UnsafeMutablePointer<dynamo_spool>
    private nonisolated(unsafe) let data: UnsafeMutablePointer<CChar>

    /// Uses a file of `dynamo_spool_make`, which becomes this object's.
    init?(_ descriptor: Int32) {
        guard descriptor >= 0, let spool = dynamo_spool_map(descriptor, 0), let data = dynamo_spool_data(spool) else {
            return nil
        }
        self.descriptor = descriptor
        self.spool = spool
        self.data = data
    }

    func close() {
        dynamo_spool_unmap(self.spool, 0)
        Glibc.close(self.descriptor)
    }

    /// Reads from a pipe.
    ///
    /// - Returns: what was read, which stays where it is until `logged`; or the result of `read(2)`, 0 or negative.
    func read(_ pipe: Int32) -> (count: Int, bytes: UnsafeRawBufferPointer) {
        let used = dynamo_spool_used(self.spool)
        let target = UnsafeMutableRawPointer(self.data + Int(used))
        let count = Glibc.read(pipe, target, Int(DYNAMO_SPOOL_READ))
        guard count > 0 else { return (count, UnsafeRawBufferPointer(start: nil, count: 0)) }
        dynamo_spool_set(self.spool, used + UInt32(count), dynamo_spool_logged(self.spool))
        return (count, UnsafeRawBufferPointer(start: target, count: count))
    }

    /// All that was read is about to be logged.
    func beginLogging() { dynamo_spool_set_logging(self.spool, dynamo_spool_used(self.spool)) }

    /// All that was read was logged, but the rest, which is the beginning of a line.
    func logged(rest: some Collection<UInt8>) {
        let used = Int(dynamo_spool_used(self.spool))
        let begin = max(0, used - rest.count)
        dynamo_spool_set(self.spool, UInt32(used), UInt32(begin))
        dynamo_spool_set_logging(self.spool, 0)
        if rest.isEmpty {
            memset(self.data, 0, min(used, Self.turn + 2 * Int(DYNAMO_SPOOL_READ)))
            dynamo_spool_set(self.spool, 0, 0)
        } else if used > Self.turn {
            // What stands in front is of no use any more: each step leaves it so that a reader who comes now understands it.
            let end = min(used, Self.turn + 2 * Int(DYNAMO_SPOOL_READ))
            for (offset, byte) in rest.enumerated() { self.data[offset] = CChar(bitPattern: byte) }
            memset(self.data + rest.count, 0, min(begin, end) - rest.count)
            dynamo_spool_set(self.spool, UInt32(rest.count), 0)
            if end > begin { memset(self.data + begin, 0, end - begin) }
        }
    }

    /// What an earlier launcher and the keeper left; it stays until `logged`.
    func leftover() -> Leftover {
        let (used, logged) = (Int(dynamo_spool_used(self.spool)), Int(dynamo_spool_logged(self.spool)))
        var bytes = [UInt8](repeating: 0, count: used - logged)
        let count = pread(self.descriptor, &bytes, bytes.count, off_t(Int(DYNAMO_SPOOL_DATA) + logged))
        bytes.removeLast(bytes.count - max(0, count))
        let logging = Int(dynamo_spool_logging(self.spool))
        return Leftover(
            bytes: bytes,
            doubtful: max(0, min(logging, used) - logged),
            dropped: dynamo_spool_take_dropped(self.spool)
        )
    }

    /// Memory that only a time without a launcher needs is given back; to be called when nothing lies there.
    func trim() { dynamo_spool_trim(self.descriptor) }
}

extension LogTail {
    /// Whether lines are the last ones of a stream in a log file.
    static func ends(_ path: String, with lines: [LineSplitter.Line], of stream: LogLine.Stream) -> Bool {
        guard !lines.isEmpty else { return false }
        // The other stream's lines are between them.
        let name = Array(stream.rawValue.utf8)
        let records = Self.records(in: path, count: lines.count + 4096)
            .filter { $0.count >= 34 && $0[25..<31].elementsEqual(name) }
            .suffix(lines.count)
        guard records.count == lines.count else { return false }
        return zip(records, lines).allSatisfy { record, line in
            record[34...].elementsEqual(line.bytes)
        }
    }
}
