/// Something that a load can be put on.
package protocol LoadTarget: Sendable {
    /// Puts the load on it, and returns when the last answer has ended.
    ///
    /// Failures are counted, not thrown. Cancelling the task ends the load early.
    func run(_ shape: LoadShape) async -> LoadResult
}

/// A target with its name and its processes.
package struct MeasuredTarget: Sendable {
    /// How the target is called in tables.
    package var label: String
    package var target: any LoadTarget
    /// The processes whose processor time counts, by name.
    package var processes: [(name: String, pid: Int32)]

    package init(label: String, target: any LoadTarget, processes: [(name: String, pid: Int32)]) {
        self.label = label
        self.target = target
        self.processes = processes
    }

    /// Runs a load and measures its time and what the processes use meanwhile.
    package func measure(_ shape: LoadShape) async -> LoadResult {
        let before = self.processes.map { ProcessorTime.ofTree($0.pid) }
        let start = ContinuousClock.now
        var result = await self.target.run(shape)
        let elapsed = ContinuousClock.now - start
        let after = self.processes.map { ProcessorTime.ofTree($0.pid) }
        result.seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
        for (index, process) in self.processes.enumerated() {
            guard let from = before[index], let to = after[index] else { continue }
            result.processorSeconds.append(ProcessLoad(name: process.name, seconds: max(0, to - from)))
        }
        return result
    }
}
