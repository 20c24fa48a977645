package import NIOCore

/// A family of decoders with what must hold for every input.
package struct FuzzTarget: Sendable, CustomStringConvertible {
    package let name: String
    let mutator: FuzzMutator
    let check: @Sendable ([UInt8], inout FuzzRandom) throws -> Void

    /// Creates a target.
    ///
    /// - Parameters:
    ///   - name: for reports.
    ///   - seeds: inputs that the decoders accept, or nearly.
    ///   - check: feeds the decoders and throws `FuzzViolation` when a rule is broken.
    package init(
        _ name: String,
        seeds: [[UInt8]],
        check: @escaping @Sendable ([UInt8], inout FuzzRandom) throws -> Void
    ) {
        self.name = name
        self.mutator = FuzzMutator(seeds: seeds)
        self.check = check
    }

    package var description: String { self.name }
}

/// A decoder broke a rule.
package struct FuzzViolation: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// Throws unless the rule holds.
///
/// - Parameters:
///   - condition: the rule.
///   - what: the rule in words.
/// - Throws: `FuzzViolation`.
package func hold(_ condition: Bool, _ what: @autoclosure () -> String) throws {
    guard condition else { throw FuzzViolation(what()) }
}

/// A bound on a loop over an input: what an input yields is limited by its size.
package struct FuzzFuel {
    private var left: Int

    package init(_ bytes: [UInt8]) { self.left = 64 + 4 * bytes.count }

    /// Counts one iteration.
    ///
    /// - Throws: `FuzzViolation` when there were more than the input can explain.
    package mutating func burn() throws {
        self.left -= 1
        if self.left < 0 { throw FuzzViolation("the decoder does not come to an end") }
    }
}

/// Cuts an input into random pieces.
package func pieces(of bytes: [UInt8], _ random: inout FuzzRandom) -> [ByteBuffer] {
    var pieces: [ByteBuffer] = []
    var start = 0
    let largest = [1, 3, 16, 64, 1024][random.below(5)]
    // Many small pieces only of small inputs.
    let least = bytes.count / 64
    while start < bytes.count {
        let size = min(bytes.count - start, least + 1 + random.below(largest))
        pieces.append(ByteBuffer(bytes: bytes[start..<start + size]))
        start += size
    }
    return pieces
}
