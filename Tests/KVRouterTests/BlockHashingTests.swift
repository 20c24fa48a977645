import Testing

@testable import KVRouter

@Suite("Hashes of blocks")
struct BlockHashingTests {
    @Test(
        "the three vectors to start with",
        arguments: [
            ([1, 2, 3, 4], 4, nil, [14_643_705_804_678_351_452]),
            (Array(0..<40), 16, nil, [15_310_707_395_893_867_146, 15_292_316_782_987_903_195]),
            (Array(0..<32), 16, "adapter", [8_452_581_587_455_479_075, 9_170_922_603_811_187_567]),
        ] as [([UInt32], Int, String?, [UInt64])]
    )
    func vectors(tokens: [UInt32], size: Int, lora: String?, expected: [UInt64]) {
        #expect(BlockHashing(blockSize: size, lora: lora).hashes(tokens).map(\.rawValue) == expected)
    }
}
