import Synchronization

/// The metrics of a process, rendered in the text format of Prometheus.
package final class MetricsRegistry: Sendable {
    /// Names and values that tell the samples of one metric apart.
    package struct Labels: Sendable, Hashable, ExpressibleByDictionaryLiteral {
        /// As they stand between the braces.
        let text: String

        package init(_ pairs: [(String, String)]) {
            self.text = pairs.sorted { $0.0 < $1.0 }.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
        }

        package init(dictionaryLiteral elements: (String, String)...) { self.init(elements) }

        func with(_ name: String, _ value: String) -> String {
            self.text.isEmpty ? "\(name)=\"\(value)\"" : "\(self.text),\(name)=\"\(value)\""
        }

        private static func escaped(_ value: String) -> String {
            guard value.utf8.contains(where: { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") || $0 == 0x0A })
            else {
                return value
            }
            return value.unicodeScalars.reduce(into: "") { text, scalar in
                switch scalar {
                case "\"": text += "\\\""
                case "\\": text += "\\\\"
                case "\n": text += "\\n"
                default: text.unicodeScalars.append(scalar)
                }
            }
        }
    }

    /// A metric of this registry.
    package struct Metric: Sendable {
        fileprivate let index: Int
    }

    package static let durationBuckets: [Double] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300,
    ]

    private struct Family {
        enum Kind: String { case counter, gauge, histogram }

        let name: String
        let help: String
        let kind: Kind
        let buckets: [Double]
        var values: [Labels: Double] = [:]
        var distributions: [Labels: Distribution] = [:]
    }

    private struct Distribution {
        /// Observations in each bucket, the last one without upper bound; not cumulative.
        var counts: [UInt64]
        var sum: Double

        init(counts: [UInt64], sum: Double) {
            self.counts = counts
            self.sum = sum
        }

        init(bounds: Int) { self.init(counts: Array(repeating: 0, count: bounds + 1), sum: 0) }

        mutating func add(_ value: Double, bucket: Int) {
            self.counts[bucket] += 1
            self.sum += value
        }
    }

    private let families = Mutex<[Family]>([])

    package init() {}

    package func counter(_ name: String, _ help: String) -> Metric { self.add(name, help, .counter, []) }

    package func gauge(_ name: String, _ help: String) -> Metric { self.add(name, help, .gauge, []) }

    package func histogram(_ name: String, _ help: String, buckets: [Double] = durationBuckets) -> Metric {
        self.add(name, help, .histogram, buckets.sorted())
    }

    private func add(_ name: String, _ help: String, _ kind: Family.Kind, _ buckets: [Double]) -> Metric {
        self.families.withLock { families in
            families.append(Family(name: name, help: help, kind: kind, buckets: buckets))
            return Metric(index: families.count - 1)
        }
    }

    /// Adds to a counter or a gauge.
    package func add(_ amount: Double, to metric: Metric, _ labels: Labels = [:]) {
        self.families.withLock { $0[metric.index].values[labels, default: 0] += amount }
    }

    /// Sets a gauge, or a counter that is counted elsewhere.
    package func set(_ metric: Metric, _ value: Double, _ labels: Labels = [:]) {
        self.families.withLock { $0[metric.index].values[labels] = value }
    }

    /// Replaces what a histogram has observed; the counts are cumulative and the last one counts all.
    package func set(_ metric: Metric, cumulative counts: [Int], sum: Double, _ labels: Labels) {
        var before = 0
        let single = counts.map { count in
            defer { before = count }
            return UInt64(max(0, count - before))
        }
        self.families.withLock { $0[metric.index].distributions[labels] = Distribution(counts: single, sum: sum) }
    }

    /// Replaces all samples of a gauge.
    package func replace(_ metric: Metric, _ values: [Labels: Double]) {
        self.families.withLock { $0[metric.index].values = values }
    }

    /// Adds an observation to a histogram.
    package func observe(_ value: Double, in metric: Metric, _ labels: Labels = [:]) {
        self.families.withLock { families in
            let bounds = families[metric.index].buckets
            let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
            families[metric.index].distributions[labels, default: Distribution(bounds: bounds.count)]
                .add(value, bucket: bucket)
        }
    }

    /// Adds a duration, in seconds.
    package func observe(_ duration: Duration, in metric: Metric, _ labels: Labels = [:]) {
        self.observe(duration.inSeconds, in: metric, labels)
    }

    /// All metrics that have samples, in the order in which they were made.
    package var text: String {
        let families = self.families.withLock { $0 }
        var text = ""
        for family in families where !(family.values.isEmpty && family.distributions.isEmpty) {
            text += "# HELP \(family.name) \(family.help)\n# TYPE \(family.name) \(family.kind.rawValue)\n"
            for (labels, value) in family.values.sorted(by: { $0.key.text < $1.key.text }) {
                let braces = labels.text.isEmpty ? "" : "{\(labels.text)}"
                text += "\(family.name)\(braces) \(Self.number(value))\n"
            }
            for (labels, distribution) in family.distributions.sorted(by: { $0.key.text < $1.key.text }) {
                Self.append(distribution, of: family, labels, to: &text)
            }
        }
        return text
    }

    private static func append(_ distribution: Distribution, of family: Family, _ labels: Labels, to text: inout String)
    {
        var total: UInt64 = 0
        for (bound, count) in zip(family.buckets.map(Self.number) + ["+Inf"], distribution.counts) {
            total += count
            text += "\(family.name)_bucket{\(labels.with("le", bound))} \(total)\n"
        }
        let braces = labels.text.isEmpty ? "" : "{\(labels.text)}"
        text += "\(family.name)_sum\(braces) \(Self.number(distribution.sum))\n"
        text += "\(family.name)_count\(braces) \(total)\n"
    }

    private static func number(_ value: Double) -> String {
        value.rounded() == value && abs(value) < 1e15 ? String(Int(value)) : String(value)
    }
}

extension Duration {
    package var inSeconds: Double {
        Double(self.components.seconds) + Double(self.components.attoseconds) / 1e18
    }
}
