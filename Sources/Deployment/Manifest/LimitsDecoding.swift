// What a process may use.

extension ProcessDecoder {
    /// As many processors as the keeper can be told of.
    static let highestCPU = 1023

    /// - Returns: the limits; nil: there are none.
    mutating func limits(_ node: ManifestNode) -> ProcessLimits? {
        guard let fields = self.node.fields(node, of: "'limits'", keys: ManifestKey.limits) else { return nil }
        var limits = ProcessLimits()
        limits.openFiles = fields["openFiles"].flatMap { self.openFiles($0.value) }
        limits.coreSize = fields["coreSize"].flatMap { self.bytes($0.value, "'limits.coreSize'", allowsZero: true) }
        limits.lockedMemory = fields["lockedMemory"].flatMap {
            self.bytes($0.value, "'limits.lockedMemory'", allowsZero: true)
        }
        limits.memory = fields["memory"].flatMap { self.bytes($0.value, "'limits.memory'", allowsZero: false) }
        // No control group is needed for what is no limit.
        if limits.memory == ProcessLimits.unlimited { limits.memory = nil }
        limits.nice = fields["nice"].flatMap { self.node.integer($0.value, "'limits.nice'", in: -20...19) }
            .map { Int32($0.value) }
        limits.cpus = fields["cpus"].map { self.cpus($0.value) } ?? []
        return limits == ProcessLimits() ? nil : limits
    }

    private func isUnlimited(_ node: ManifestNode) -> Bool {
        if case .scalar(let scalar) = node.content { scalar.text == "unlimited" } else { false }
    }

    /// A program needs some descriptors before it says its first word.
    private mutating func openFiles(_ node: ManifestNode) -> UInt64? {
        if self.isUnlimited(node) {
            self.node.error(
                at: node.location,
                "'limits.openFiles' cannot be unlimited: the kernel has an end of its own (fs.nr_open)",
                remedy: "write a number, such as 65536"
            )
            return nil
        }
        return self.node.integer(node, "'limits.openFiles'", in: 16...Int(Int32.max)).map { UInt64($0.value) }
    }

    private mutating func bytes(_ node: ManifestNode, _ what: String, allowsZero: Bool) -> UInt64? {
        if self.isUnlimited(node) { return ProcessLimits.unlimited }
        guard
            let text = self.node.quantity(node, what, example: "8Gi, or unlimited", allowsZero: allowsZero)?.value,
            let amount = KubernetesName.amount(text)
        else { return nil }
        guard amount < 0x1p62, amount == amount.rounded() else {
            self.node.error(
                at: node.location,
                "\(what) must be a whole number of bytes below 4Ei, not '\(Spelling.excerpt(text))'",
                remedy: "write 8Gi, or unlimited"
            )
            return nil
        }
        return UInt64(amount)
    }

    /// Numbers and ranges: `[0-3, 8]`, or one of them alone.
    private mutating func cpus(_ node: ManifestNode) -> [Int] {
        var items = [node]
        if case .sequence(let list) = node.content {
            items = list
            if list.isEmpty {
                self.node.error(at: node.location, "'limits.cpus' is empty", remedy: "write [0-3], or remove the key")
            }
        }
        var cpus: Set<Int> = []
        for item in items {
            guard let text = self.node.text(item, "an item of 'limits.cpus'") else { continue }
            let ends = text.value.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard (1...2).contains(ends.count), let low = ends[0], let high = ends[ends.count - 1], low >= 0,
                low <= high, high <= Self.highestCPU
            else {
                self.node.error(
                    at: item.location,
                    "'\(Spelling.excerpt(text.value))' is no processor and no range of processors",
                    remedy: "write a number from 0 to \(Self.highestCPU), or a range such as 0-3"
                )
                continue
            }
            cpus.formUnion(low...high)
        }
        return cpus.sorted()
    }
}
