/// A set of characters, as a pattern's class names it.
struct ScalarClass: Hashable, Sendable {
    enum Item: Hashable, Sendable {
        case range(ClosedRange<UInt32>)
        /// General categories.
        case categories(UInt32, isNegated: Bool)
        case whitespace(isNegated: Bool)
    }

    private var items: [Item]
    private var isNegated: Bool
    /// The answers for ASCII.
    private var low: (UInt64, UInt64) = (0, 0)

    init(_ items: [Item], isNegated: Bool = false) {
        self.items = items
        self.isNegated = isNegated
        for value in UInt32(0)..<128 where self.evaluate(value) {
            if value < 64 { self.low.0 |= 1 << value } else { self.low.1 |= 1 << (value - 64) }
        }
    }

    /// One character.
    init(_ scalar: Unicode.Scalar, ignoringCase: Bool) {
        var items: [Item] = [.range(scalar.value...scalar.value)]
        if ignoringCase {
            let others = [scalar.properties.lowercaseMapping, scalar.properties.uppercaseMapping]
            for other in others.flatMap({ Array($0.unicodeScalars) }) where other != scalar {
                items.append(.range(other.value...other.value))
            }
            // The long s is an s to all that compare without regard to case.
            if scalar == "s" || scalar == "S" { items.append(.range(0x17F...0x17F)) }
        }
        self.init(items)
    }

    func contains(_ value: UInt32) -> Bool {
        if value < 64 { return self.low.0 & (1 << value) != 0 }
        if value < 128 { return self.low.1 & (1 << (value - 64)) != 0 }
        return self.evaluate(value)
    }

    private func evaluate(_ value: UInt32) -> Bool {
        guard let scalar = Unicode.Scalar(value) else { return false }
        for item in self.items {
            let matches =
                switch item {
                case .range(let range): range.contains(value)
                case .categories(let mask, let isNegated):
                    (mask & scalar.properties.generalCategory.bit != 0) != isNegated
                case .whitespace(let isNegated): scalar.properties.isWhitespace != isNegated
                }
            if matches { return !self.isNegated }
        }
        return self.isNegated
    }

    static func == (left: ScalarClass, right: ScalarClass) -> Bool {
        left.items == right.items && left.isNegated == right.isNegated
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(self.items)
        hasher.combine(self.isNegated)
    }

    /// The categories that a name such as `L` or `Lu` stands for; nil for a name that is none.
    static func categories(_ name: String) -> UInt32? {
        let all = Unicode.GeneralCategory.named
        if name.utf8.count == 1 {
            let mask = all.reduce(UInt32(0)) { $1.name.hasPrefix(name) ? $0 | $1.category.bit : $0 }
            return mask == 0 ? nil : mask
        }
        return all.first { $0.name == name }?.category.bit
    }
}

extension Unicode.GeneralCategory {
    fileprivate static let named: [(name: String, category: Unicode.GeneralCategory)] = [
        ("Lu", .uppercaseLetter), ("Ll", .lowercaseLetter), ("Lt", .titlecaseLetter), ("Lm", .modifierLetter),
        ("Lo", .otherLetter), ("Mn", .nonspacingMark), ("Mc", .spacingMark), ("Me", .enclosingMark),
        ("Nd", .decimalNumber), ("Nl", .letterNumber), ("No", .otherNumber), ("Pc", .connectorPunctuation),
        ("Pd", .dashPunctuation), ("Ps", .openPunctuation), ("Pe", .closePunctuation), ("Pi", .initialPunctuation),
        ("Pf", .finalPunctuation), ("Po", .otherPunctuation), ("Sm", .mathSymbol), ("Sc", .currencySymbol),
        ("Sk", .modifierSymbol), ("So", .otherSymbol), ("Zs", .spaceSeparator), ("Zl", .lineSeparator),
        ("Zp", .paragraphSeparator), ("Cc", .control), ("Cf", .format), ("Cs", .surrogate), ("Co", .privateUse),
        ("Cn", .unassigned),
    ]

    fileprivate var bit: UInt32 {
        switch self {
        case .uppercaseLetter: 1 << 0
        case .lowercaseLetter: 1 << 1
        case .titlecaseLetter: 1 << 2
        case .modifierLetter: 1 << 3
        case .otherLetter: 1 << 4
        case .nonspacingMark: 1 << 5
        case .spacingMark: 1 << 6
        case .enclosingMark: 1 << 7
        case .decimalNumber: 1 << 8
        case .letterNumber: 1 << 9
        case .otherNumber: 1 << 10
        case .connectorPunctuation: 1 << 11
        case .dashPunctuation: 1 << 12
        case .openPunctuation: 1 << 13
        case .closePunctuation: 1 << 14
        case .initialPunctuation: 1 << 15
        case .finalPunctuation: 1 << 16
        case .otherPunctuation: 1 << 17
        case .mathSymbol: 1 << 18
        case .currencySymbol: 1 << 19
        case .modifierSymbol: 1 << 20
        case .otherSymbol: 1 << 21
        case .spaceSeparator: 1 << 22
        case .lineSeparator: 1 << 23
        case .paragraphSeparator: 1 << 24
        case .control: 1 << 25
        case .format: 1 << 26
        case .surrogate: 1 << 27
        case .privateUse: 1 << 28
        case .unassigned: 1 << 29
        @unknown default: 0
        }
    }
}
