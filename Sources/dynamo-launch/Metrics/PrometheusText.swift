/// Writes the text format of Prometheus, version 0.0.4: families with their help and kind, each with its samples.
struct PrometheusText: Sendable {
    enum Kind: String, Sendable {
        case counter, gauge, histogram
    }

    /// Names and values, in the order in which they are shown.
    typealias Labels = [(name: String, value: String)]

    private(set) var text = ""
    private var family = ""

    /// Begins a family.
    ///
    /// - Parameters:
    ///   - name: with the unit, and `_total` for a counter.
    ///   - kind: what its samples are.
    ///   - help: one line for people.
    mutating func begin(_ name: String, _ kind: Kind, _ help: String) {
        self.family = name
        self.text += "# HELP \(name) \(Self.escaped(help, quote: false))\n# TYPE \(name) \(kind.rawValue)\n"
    }

    /// A number of the family.
    mutating func sample(_ labels: Labels = [], _ value: Int) { self.write("", labels, String(value)) }

    /// A number of the family.
    mutating func sample(_ labels: Labels = [], _ value: Double) { self.write("", labels, Self.number(value)) }

    /// A family of one number.
    mutating func single(_ name: String, _ kind: Kind, _ help: String, _ value: Int) {
        self.begin(name, kind, help)
        self.sample([], value)
    }

    /// A histogram of the family.
    ///
    /// - Parameters:
    ///   - labels: whose it is.
    ///   - bounds: the upper bounds, ascending.
    ///   - counts: how many fell between the bound before and each bound, and last how many above all.
    ///   - sum: of everything that was measured.
    mutating func histogram(_ labels: Labels, bounds: [Double], counts: [Int], sum: Double) {
        var total = 0
        for (index, count) in counts.enumerated() {
            total += count
            let bound = index < bounds.count ? Self.number(bounds[index]) : "+Inf"
            self.write("_bucket", labels + [("le", bound)], String(total))
        }
        self.write("_sum", labels, Self.number(sum))
        self.write("_count", labels, String(total))
    }

    private mutating func write(_ suffix: String, _ labels: Labels, _ value: String) {
        self.text += self.family + suffix
        if !labels.isEmpty {
            let list = labels.map { "\($0.name)=\"\(Self.escaped($0.value, quote: true))\"" }
            self.text += "{" + list.joined(separator: ",") + "}"
        }
        self.text += " " + value + "\n"
    }

    private static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String(value)
    }

    private static func escaped(_ text: String, quote: Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quote: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
