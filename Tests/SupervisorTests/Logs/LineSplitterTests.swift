import Testing

@testable import Supervisor

@Suite struct LineSplitterTests {
    private func texts(_ lines: [LineSplitter.Line]) -> [String] {
        lines.map { String(decoding: $0.bytes, as: UTF8.self) }
    }

    @Test func cutsAtLineEnds() {
        var splitter = LineSplitter()
        #expect(self.texts(splitter.append(Array("one\ntwo\r\nthr".utf8))) == ["one", "two"])
        #expect(self.texts(splitter.append(Array("ee\n\n".utf8))) == ["three", ""])
        #expect(splitter.finish() == nil)
    }

    @Test func keepsWhatHasNoEnd() {
        var splitter = LineSplitter()
        #expect(splitter.append(Array("no end".utf8)) == [])
        #expect(splitter.finish() == LineSplitter.Line(bytes: Array("no end".utf8), isPartial: false))
        #expect(splitter.finish() == nil)
    }

    /// Any way of cutting the input gives the same lines.
    @Test(arguments: 1...7)
    func chunksDoNotMatter(size: Int) {
        let input = Array("alpha\nbeta\r\n\ngämma\nδ".utf8)
        var splitter = LineSplitter()
        var lines: [LineSplitter.Line] = []
        for start in stride(from: 0, to: input.count, by: size) {
            lines += splitter.append(input[start..<min(start + size, input.count)])
        }
        if let last = splitter.finish() { lines.append(last) }
        #expect(self.texts(lines) == ["alpha", "beta", "", "gämma", "δ"])
    }

    @Test func longLinesAreCutAndMarked() {
        var splitter = LineSplitter(limit: 10)
        let lines = splitter.append(Array("0123456789abcdefghijXYZ\nnext\n".utf8))
        #expect(self.texts(lines) == ["0123456789", "abcdefghij", "XYZ", "next"])
        #expect(lines.map(\.isPartial) == [true, true, false, false])
    }

    @Test func aLineOfExactlyTheLimitIsWhole() {
        var splitter = LineSplitter(limit: 10)
        #expect(splitter.append(Array("0123456789\n".utf8)).map(\.isPartial) == [false])
    }

    @Test func cutsNeverFallInsideACharacter() {
        for text in ["ääääääääää", "日本語日本語日本語", "x😀😀😀😀😀"] {
            var splitter = LineSplitter(limit: 10)
            var lines = splitter.append(Array(text.utf8))
            if let last = splitter.finish() { lines.append(last) }
            #expect(lines.count > 1)
            for line in lines { #expect(String(validating: line.bytes, as: UTF8.self) != nil) }
            #expect(self.texts(lines).joined() == text)
        }
    }

    @Test func bytesThatAreNoTextAreCutAnywhere() {
        var splitter = LineSplitter(limit: 10)
        let lines = splitter.append([UInt8](repeating: 0x80, count: 25))
        #expect(lines.map(\.bytes.count) == [10, 10])
        #expect(splitter.finish()?.bytes.count == 5)
    }

    @Test func memoryIsBoundedWhenNoLineEnds() {
        var splitter = LineSplitter(limit: 1024)
        for _ in 0..<100 {
            for line in splitter.append([UInt8](repeating: 65, count: 1000)) { #expect(line.bytes.count == 1024) }
        }
        #expect((splitter.finish()?.bytes.count ?? 0) <= 1024)
    }
}
