import Glibc
import NIOCore

/// Recognizes an error in an event stream: its status was sent long before, so nothing else tells that the answer has failed.
///
/// Dynamo's frontends send `event: error`, others of the OpenAI interface an object with `error` first. Reads end where they
/// like, so what a line has begun with is remembered from one to the next.
struct StreamedError {
    private static let marks = ["event: error", #"data: {"error""#].map { Array($0.utf8) }

    /// How many bytes of each mark the line has that is not whole yet; -1: it begins otherwise.
    private var matched = SIMD2<Int>.zero

    /// Whether the next bytes of a stream tell of an error.
    ///
    /// - Parameter bytes: content, with the framing of its chunks or without.
    /// - Returns: whether a line begins with one, here or in the bytes before and here.
    mutating func isTold(in bytes: ByteBuffer) -> Bool {
        bytes.withUnsafeReadableBytes { bytes in
            guard let start = bytes.baseAddress else { return false }
            // A line break in the text of an answer is escaped, so that only a line of the stream can begin so.
            var line = 0
            while line < bytes.count {
                let end = memchr(start + line, 0x0A, bytes.count - line).map { UnsafeRawPointer($0) - start }
                if self.goOn(bytes[line..<(end ?? bytes.count)]) { return true }
                guard let end else { return false }
                self.matched = .zero
                line = end + 1
            }
            return false
        }
    }

    /// Whether the line, with these bytes of it, is one that tells of an error.
    private mutating func goOn(_ bytes: Slice<UnsafeRawBufferPointer>) -> Bool {
        for (index, mark) in Self.marks.enumerated() where self.matched[index] >= 0 {
            let rest = mark[self.matched[index]...]
            if bytes.starts(with: rest) { return true }
            self.matched[index] = rest.starts(with: bytes) ? self.matched[index] + bytes.count : -1
        }
        return false
    }
}
