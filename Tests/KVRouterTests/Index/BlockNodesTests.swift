import Testing

@testable import KVRouter

@Suite struct BlockNodesTests {
    /// Long runs of a table are no wrong answers, only slow ones.
    @Test func `Edges lie near their homes, however many there are`() {
        var nodes = BlockNodes()
        var parent = BlockNodes.root
        for number in 0..<300_000 {
            if number.isMultiple(of: 500) { parent = BlockNodes.root }
            let child = nodes.insert(under: parent, TokensHash(rawValue: UInt64(number) &* 0x9E37_79B9_7F4A_7C15))
            nodes.retain(child)
            parent = child
        }
        // Segments are filled to four fifths: runs are short, and the longest of 4096 segments is far below its 73 edges.
        #expect(nodes.farthestEdge < 60)
    }
}
