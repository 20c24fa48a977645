/// A small generator whose whole state is one number, so that a number names an input.
package struct FuzzRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { self.state = seed }

    package mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var word = self.state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    /// A number below the limit; zero when the limit is not above it.
    package mutating func below(_ limit: Int) -> Int {
        limit > 0 ? Int(truncatingIfNeeded: self.next() >> 33) % limit : 0
    }

    /// True once in so many times.
    package mutating func oneIn(_ count: Int) -> Bool { self.below(count) == 0 }
}
