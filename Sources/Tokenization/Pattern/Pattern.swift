/// A regular expression of the small kind that pre-tokenizers split text with.
///
/// It knows what those in common use are made of: classes of characters with Unicode's categories, counted repetition, groups,
/// alternatives and a look ahead. Anything else is refused by name. It matches characters one by one, so that it does not
/// depend on where a text's graphemes end.
struct Pattern: Hashable, Sendable {
    enum Instruction: Hashable, Sendable {
        case one(Int)
        case many(Int, least: Int, most: Int, givesBack: Bool)
        /// Tries the first place, then the second.
        case either(Int, Int)
        case jump(Int)
        /// What follows up to the given place, which must match here or must not.
        case ahead(isNegative: Bool, end: Int)
        case accept
    }

    private let classes: [ScalarClass]
    private let program: [Instruction]

    /// Reads an expression.
    ///
    /// - Throws: an error that names what is not supported, with its place.
    init(_ text: String) throws(TokenizationError) {
        var parser = PatternParser(text)
        (self.program, self.classes) = try parser.parse()
    }

    /// The longest that the expression takes at a place, in its own order of preference.
    ///
    /// - Returns: where the match ends; nil if there is none.
    func match(_ text: borrowing [UInt32], at start: Int) -> Int? { self.run(text, from: 0, at: start) }

    /// A way that is still open: where the program goes on, and how much a repetition may take back.
    private struct Way {
        var instruction: Int
        var least: Int
        var position: Int
    }

    private func run(_ text: borrowing [UInt32], from first: Int, at start: Int) -> Int? {
        var ways: [Way] = []
        var (instruction, position) = (first, start)
        while true {
            var fails = false
            switch self.program[instruction] {
            case .accept: return position
            case .jump(let target): instruction = target
            case .either(let now, let later):
                ways.append(Way(instruction: later, least: position, position: position))
                instruction = now
            case .one(let index):
                if position < text.count, self.classes[index].contains(text[position]) {
                    position += 1
                    instruction += 1
                } else {
                    fails = true
                }
            case .many(let index, let least, let most, let givesBack):
                let begin = position
                let end = most == .max ? text.count : min(text.count, begin + most)
                while position < end, self.classes[index].contains(text[position]) { position += 1 }
                if position - begin < least {
                    fails = true
                } else {
                    instruction += 1
                    if givesBack, position - begin > least {
                        ways.append(Way(instruction: instruction, least: begin + least, position: position - 1))
                    }
                }
            case .ahead(let isNegative, let end):
                if (self.run(text, from: instruction + 1, at: position) != nil) == isNegative {
                    fails = true
                } else {
                    instruction = end
                }
            }
            guard fails else { continue }
            guard let way = ways.popLast() else { return nil }
            (instruction, position) = (way.instruction, way.position)
            if way.position > way.least {
                ways.append(Way(instruction: instruction, least: way.least, position: position - 1))
            }
        }
    }
}
