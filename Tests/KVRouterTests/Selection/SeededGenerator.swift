/// Numbers that look random and are the same in each run.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64 = 1

    mutating func next() -> UInt64 {
        self.state = self.state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (self.state >> 32) | (self.state << 32)
    }
}
