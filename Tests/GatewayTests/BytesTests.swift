import Testing

@testable import Gateway

/// What is decided about eight bytes at once is what is decided about each.
@Suite struct BytesTests {
    @Test func everyByteAtEveryPlaceOfAValue() {
        for place in 0..<19 {
            for byte in UInt8.min ... .max {
                for filler in [UInt8(ascii: "a"), UInt8(ascii: "\t"), 0x80, 0xFF, 0x20] {
                    var value = [UInt8](repeating: filler, count: 19)
                    value[place] = byte
                    #expect(value.withUnsafeBytes(Bytes.areValue) == value.allSatisfy(Bytes.isValue))
                }
            }
        }
        #expect([UInt8]().withUnsafeBytes(Bytes.areValue))
    }
}
