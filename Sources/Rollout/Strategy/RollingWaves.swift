internal import Deployment

/// In which order workers of two generations change places.
///
/// Where the new ones have GPUs and ports of their own they come before the old ones go; otherwise the old ones that are in the way go
/// first, never more than the floor allows.
struct RollingWaves {
    private(set) var waves: [MigrationPlan.Wave] = []
    /// So many workers of both generations together are ready at any time.
    let floor: Int

    private let old: [ReplicaPlan]
    private let new: [ReplicaPlan]
    /// Positions in ``old`` of those that still run.
    private var running: [Int] { didSet { self.counts = Self.counts(self.running, self.old) } }
    /// How many of each process of the old generation still run.
    private var counts: [String: Int]
    /// Positions in ``new`` of those that are still to be started.
    private var pending: [Int]
    /// Positions in ``old`` of what is in the way of each of ``new``.
    private let blockers: [Set<Int>]

    /// - Throws: when the floor that the manifest states cannot be kept; without one the highest that can be kept is taken.
    init(
        old: MigrationPlan.Side,
        new: MigrationPlan.Side,
        minimumWorkers: Int?,
        devices: KnownDevices
    ) throws(MigrationPlan.Refusal) {
        let blockers = MigrationNeeds.Places(old.workers, devices).conflicts(with: new.workers)
        let highest = min(old.workers.count, new.workers.count)
        if let stated = minimumWorkers {
            guard stated <= highest else {
                throw MigrationPlan.Refusal(reasons: [
                    "\(Self.place(old, new)): 'migration.minimumWorkers' is \(stated), and \(old.name) has \(old.workers.count) workers, \(new.name) \(new.workers.count)\n"
                        + "  remedy: write \(highest) or less"
                ])
            }
            guard let rolling = Self(old.workers, new.workers, blockers, floor: stated) else {
                let best = (0..<stated).last { Self(old.workers, new.workers, blockers, floor: $0) != nil } ?? 0
                throw MigrationPlan.Refusal(reasons: [
                    "\(Self.place(old, new)): \(new.name) needs GPUs or ports of more workers at once than 'migration.minimumWorkers: \(stated)' lets go: "
                        + "at most \(best) can stay ready\n  remedy: write 'minimumWorkers: \(best)', or give its workers GPUs and ports that are free"
                ])
            }
            self = rolling
            return
        }
        for floor in (0...max(0, highest - 1)).reversed() {
            guard let rolling = Self(old.workers, new.workers, blockers, floor: floor) else { continue }
            self = rolling
            return
        }
        // With a floor of 0 everything that is in the way may go.
        throw MigrationPlan.Refusal(reasons: [
            "\(Self.place(old, new)): no order was found in which the workers can change places\n  remedy: use 'recreate'"
        ])
    }

    private static func place(_ old: MigrationPlan.Side, _ new: MigrationPlan.Side) -> String {
        let workers = new.workers + old.workers
        return workers.lazy.compactMap(\.origin).first ?? new.plan.manifestPath ?? new.name
    }

    private init?(_ old: [ReplicaPlan], _ new: [ReplicaPlan], _ blockers: [Set<Int>], floor: Int) {
        self.old = old
        self.new = new
        self.floor = floor
        self.running = Array(old.indices)
        self.pending = Array(new.indices)
        self.counts = Self.counts(self.running, old)
        self.blockers = blockers
        while !self.pending.isEmpty {
            guard let wave = self.next() else { return nil }
            self.waves.append(wave)
        }
        // A generation without workers of its own: they are somewhere else.
        if self.waves.isEmpty {
            guard floor == 0 || self.running.isEmpty else { return nil }
            self.waves.append(MigrationPlan.Wave(added: [], removedAfter: self.running.map { old[$0].name }))
        }
        self.setShares()
    }

    private var ready: Int { self.running.count + self.new.count - self.pending.count }
    /// How many change places at a time where nothing else says so.
    private var step: Int { max(1, self.old.count - self.floor) }

    private mutating func next() -> MigrationPlan.Wave? {
        let isFirst = self.waves.isEmpty
        // A generation can answer only with one of each of its processes.
        let needed = isFirst ? Self.firstOfEach(self.new) : []
        guard let choice = self.choice(needed) else { return nil }
        let gone = choice.reduce(into: Set<Int>()) { $0.formUnion(self.blockers[$1]) }
            .intersection(self.running)
        guard self.ready - gone.count >= self.floor else { return nil }
        self.running.removeAll { gone.contains($0) }
        self.pending.removeAll { choice.contains($0) }
        // What was not in the way makes room in memory, one for one; with the last of the new ones all go.
        var after: [Int] = []
        if self.pending.isEmpty {
            guard self.new.count >= self.floor else { return nil }
            after = self.running
        } else {
            while after.count < choice.count - gone.count, let victim = self.dispensable(except: after) {
                after.append(victim)
            }
        }
        self.running.removeAll { after.contains($0) }
        return MigrationPlan.Wave(
            removedFirst: gone.sorted().map { self.old[$0].name },
            added: choice.sorted().map { self.new[$0].name },
            removedAfter: after.sorted().map { self.old[$0].name }
        )
    }

    /// Which of the new ones come next: the needed ones, then those for which fewest of the old ones must go.
    private func choice(_ needed: [Int]) -> Set<Int>? {
        var choice = Set(needed)
        var gone = Set<Int>()
        func blockers(of worker: Int) -> Set<Int> { self.blockers[worker].intersection(self.running).subtracting(gone) }
        for worker in needed { gone.formUnion(blockers(of: worker)) }
        guard self.ready - gone.count >= self.floor else { return nil }
        while choice.count < self.step {
            let candidates = self.pending.filter { !choice.contains($0) }.map { ($0, blockers(of: $0)) }
            // The last of a process of the old generation goes last.
            let ranked = candidates.map { worker, more in
                (rank: (self.takesLast(gone.union(more)) ? 1 : 0, more.count, worker), worker: worker, more: more)
            }
            let best = ranked.min { $0.rank < $1.rank }.map { ($0.worker, $0.more) }
            guard let (worker, more) = best, self.ready - gone.count - more.count >= self.floor else { break }
            if !choice.isEmpty {
                // Nothing is stopped early where something free is left, and what the old generation needs to answer goes with the last wave.
                let isLast = !self.waves.isEmpty && choice.count + 1 == self.pending.count
                let keeps = !self.takesLast(gone.union(more)) || self.takesLast(gone) || isLast
                guard keeps, more.isEmpty || !gone.isEmpty else { break }
            }
            choice.insert(worker)
            gone.formUnion(more)
        }
        return choice.isEmpty ? nil : choice
    }

    /// Whether a process of the old generation has nothing left without these.
    private func takesLast(_ gone: Set<Int>) -> Bool {
        Self.counts(gone, self.old).contains { process, count in self.counts[process] == count }
    }

    private static func counts(_ workers: some Sequence<Int>, _ old: [ReplicaPlan]) -> [String: Int] {
        workers.reduce(into: [:]) { $0[old[$1].process, default: 0] += 1 }
    }

    /// One of the old generation that can go without its process having nothing left: the last one of the process that has most.
    private func dispensable(except gone: [Int]) -> Int? {
        let left = self.running.filter { !gone.contains($0) }
        let counts = Dictionary(grouping: left) { self.old[$0].process }
        // Those that are in the way of what is to come would have to go anyway.
        let useful = self.pending.reduce(into: Set<Int>()) { $0.formUnion(self.blockers[$1]) }
        return left.filter { (counts[self.old[$0].process]?.count ?? 0) > 1 }
            .max { lhs, rhs in
                let left = (useful.contains(lhs) ? 1 : 0, counts[self.old[lhs].process]?.count ?? 0, lhs)
                let right = (useful.contains(rhs) ? 1 : 0, counts[self.old[rhs].process]?.count ?? 0, rhs)
                return left < right
            }
    }

    private static func firstOfEach(_ workers: [ReplicaPlan]) -> [Int] {
        var seen: Set<String> = []
        return workers.indices.filter { seen.insert(workers[$0].process).inserted }
    }

    /// The new generation's share of the requests is its share of the ready workers; all of them when the old one has not one of each left.
    private mutating func setShares() {
        var gone: Set<String> = []
        var added = 0
        let processes = Set(self.old.map(\.process))
        for index in self.waves.indices {
            gone.formUnion(self.waves[index].removedFirst)
            gone.formUnion(self.waves[index].removedAfter)
            added += self.waves[index].added.count
            let left = self.old.filter { !gone.contains($0.name) }
            let isComplete = Set(left.map(\.process)) == processes && !left.isEmpty
            let all = added + left.count
            self.waves[index].share =
                isComplete && index < self.waves.count - 1 ? max(1, added * 100 / max(1, all)) : 100
        }
    }
}
