package import Deployment
package import Supervisor

/// How one generation is replaced by another on this machine: which processes run at the same time, and in which order they come and go.
package struct MigrationPlan: Sendable, Hashable {
    /// Workers that change places at one time, by replica name.
    package struct Wave: Sendable, Hashable {
        /// Of the old generation: they must be gone before the new ones can be started, since these need their GPUs or ports.
        package var removedFirst: [String]
        /// Of the new generation.
        package var added: [String]
        /// Of the old generation: they go when the new ones are ready and have got their share of the requests.
        package var removedAfter: [String]
        /// Percent of the requests that the new generation gets when its workers of this wave are ready.
        package var share: Int

        package init(removedFirst: [String] = [], added: [String], removedAfter: [String] = [], share: Int = 0) {
            self.removedFirst = removedFirst
            self.added = added
            self.removedAfter = removedAfter
            self.share = share
        }
    }

    /// Why it cannot be done, each with a place and a remedy.
    package struct Refusal: Error, Sendable, Hashable, CustomStringConvertible {
        /// At least one.
        package var reasons: [String]

        package init(reasons: [String]) { self.reasons = reasons }

        package var description: String { self.reasons.joined(separator: "\n") }
    }

    package var strategy: MigrationSettings.Strategy
    /// The GPUs of this machine.
    package var devices: KnownDevices
    /// Percent of the requests that the new generation gets, stage by stage; the last one is 100.
    ///
    /// With `rolling` there is one stage for each wave.
    package var shares: [Int]
    /// Of workers; empty unless the strategy is `rolling`.
    ///
    /// Frontends, routers and infrastructure of the new generation start with the first wave; those of the old one are stopped after
    /// the last.
    package var waves: [Wave]
    /// With `rolling`: so many workers of both generations together are ready at any time.
    package var floor: Int
    /// The same for people.
    package var outline: MigrationOutline

    /// A generation that takes part.
    package struct Side: Sendable, Hashable {
        package var number: Int
        package var plan: Plan

        package init(number: Int, plan: Plan) {
            self.number = number
            self.plan = plan
        }

        var name: String { "generation \(self.number)" }

        /// Such as `2 (tcp, Dynamo 1.6.1)`.
        package var words: String {
            let release = self.plan.release.map { ", Dynamo \($0)" } ?? ""
            return "\(self.number) (\(self.plan.planes.request.rawValue)\(release))"
        }

        /// In start order.
        var workers: [ReplicaPlan] { self.plan.replicas.filter { $0.role == .worker } }
        var others: [ReplicaPlan] { self.plan.replicas.filter { $0.role != .worker } }
    }

    /// Works out how.
    ///
    /// - Parameters:
    ///   - old: what runs.
    ///   - new: what shall run.
    ///   - settings: the strategy and its limits.
    ///   - confirms: whether a person is asked before clients reach the new generation.
    ///   - devices: the GPUs of this machine.
    /// - Throws: ``Refusal`` when the two cannot follow each other in this way.
    package init(
        from old: Side,
        to new: Side,
        settings: MigrationSettings,
        confirms: Bool = false,
        devices: KnownDevices = KnownDevices()
    ) throws(Refusal) {
        let needs = MigrationNeeds(old: old, new: new, devices: devices)
        var reasons = needs.refusals(for: settings.strategy)
        self.strategy = settings.strategy
        self.devices = devices
        self.waves = []
        self.floor = 0
        switch settings.strategy {
        case .blueGreen: self.shares = settings.steps
        case .recreate: self.shares = [100]
        case .rolling:
            self.shares = [100]
            // Conflicts with what stays to the end would only repeat themselves here.
            guard reasons.isEmpty else { break }
            do throws(Refusal) {
                let rolling = try RollingWaves(
                    old: old,
                    new: new,
                    minimumWorkers: settings.minimumWorkers,
                    devices: devices
                )
                self.waves = rolling.waves
                self.floor = rolling.floor
                self.shares = rolling.waves.map(\.share)
            } catch {
                reasons += error.reasons
            }
        }
        self.outline = MigrationOutline(
            from: old.words,
            to: new.words,
            strategy: settings.strategy,
            steps: [],
            needs: [],
            gap: nil,
            notes: []
        )
        guard reasons.isEmpty else { throw Refusal(reasons: reasons) }
        self.outline = MigrationWords(plan: self, old: old, new: new, settings: settings, needs: needs)
            .outline(confirms: confirms)
    }

    /// Whether what runs is what there is after so many stages, and perhaps a part of the next one.
    ///
    /// - Parameters:
    ///   - old: what runs of the old generation; nil: nothing.
    ///   - new: what runs of the new one.
    ///   - stages: have come to their end.
    /// - Returns: whether it is.
    package func fits(old: Plan?, new: Plan, after stages: Int) -> Bool {
        let finished = self.waves.prefix(stages)
        let gone = Set(finished.flatMap { $0.removedFirst + $0.removedAfter })
        let there = Set(new.replicas.map(\.name))
        return finished.flatMap(\.added).allSatisfy(there.contains)
            && (old?.replicas ?? []).allSatisfy { !gone.contains($0.name) }
    }
}
