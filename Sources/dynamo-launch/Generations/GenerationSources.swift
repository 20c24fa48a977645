import Deployment
import FoundationEssentials
import Rollout
import Supervisor
import Synchronization

/// What each generation was planned from, and how it is planned again.
final class GenerationSources: Sendable {
    private struct State: Sendable {
        /// What `up` would be called with for each generation.
        var bases: [Int: GenerationSource]
        var sources: [Int: GenerationSource]
        var ports: [Int: PortSource]
        /// Read for a change that has not been made yet.
        var read: [Int: GenerationSource] = [:]
        /// What a change that is being made was read from.
        var changing: [Int: GenerationSource] = [:]
    }

    /// Where clients connect, when that is not the manifest's address.
    private let address: HTTPAddress?
    private let journal: MigrationJournal
    /// What `up` was called with.
    private let called: GenerationSource
    private let complain: @Sendable (String) -> Void
    private let state: Mutex<State>

    /// - Parameters:
    ///   - start: what is started first.
    ///   - complain: gets what could not be written.
    init(_ start: DeploymentStart, complain: @escaping @Sendable (String) -> Void) {
        self.address = start.listeners.address
        self.journal = start.journal
        self.complain = complain
        self.called = start.base
        let number = start.plan.generation
        self.state = Mutex(
            State(
                bases: [number: start.base],
                sources: [number: start.preparation.source],
                ports: [number: start.ports]
            )
        )
    }

    /// What `up` would be called with to get this generation: what it was called with, with the manifest's text that was read since.
    func base(of generation: Int) -> GenerationSource { self.state.withLock { $0.bases[generation] } ?? self.called }

    func source(of generation: Int) -> GenerationSource? { self.state.withLock { $0.sources[generation] } }

    /// A generation is planned and may be started.
    func add(_ generation: Int, _ source: GenerationSource, base: GenerationSource, _ ports: PortSource) {
        self.state.withLock { state in
            state.sources[generation] = source
            state.bases[generation] = base
            state.ports[generation] = ports
        }
    }

    /// A generation will not be started again: its ports are free.
    func remove(_ generation: Int) {
        let ports = self.state.withLock { state in
            state.sources[generation] = nil
            state.bases[generation] = nil
            state.read[generation] = nil
            state.changing[generation] = nil
            return state.ports.removeValue(forKey: generation)
        }
        ports?.release()
    }

    /// Those that are planned.
    var generations: [Int] { self.state.withLock { $0.sources.keys.sorted() } }

    /// The plan of a generation's manifest, on the ports that it has, at the address that is served.
    ///
    /// - Parameters:
    ///   - generation: its number.
    ///   - counts: none: the manifest is read again; else it stays as it was read, and processes get so many replicas.
    /// - Returns: the plan.
    /// - Throws: `ReplanFailure` with the errors of the manifest.
    func replan(_ generation: Int, _ counts: [String: Int]) async throws(ReplanFailure) -> Plan {
        let (known, ports) = self.state.withLock { ($0.sources[generation], $0.ports[generation]) }
        guard var source = known, let ports else {
            throw ReplanFailure(description: "generation \(generation) does not run any more")
        }
        do throws(Preparation.Failure) {
            if counts.isEmpty, let path = source.manifestPath { source.manifestText = try Self.read(path) }
            if !counts.isEmpty {
                let names = try Preparation(source, generation: generation).manifest.processes.map(\.name.value)
                for process in counts.keys.sorted() where !names.contains(process) {
                    let hint =
                        Spelling.nearest(to: process, among: names).map { "did you mean '\($0)'?" }
                        ?? "there are: \(names.joined(separator: ", "))"
                    throw Preparation.Failure(["there is no process '\(process)'; \(hint)"])
                }
                source.scaled = (source.scaled ?? [:]).merging(counts) { $1 }
            }
            let preparation = try self.preparation(&source, generation: generation, mayForget: counts.isEmpty)
            var plan = try await preparation.plan(ports: ports)
            plan.publicAddress = self.address ?? plan.publicAddress
            self.state.withLock { [source] in $0.read[generation] = source }
            return plan
        } catch {
            throw ReplanFailure(description: error.lines.joined(separator: "\n"))
        }
    }

    /// The plan that runs, with other ports in the place of some that are taken; the manifest is not read again.
    ///
    /// - Parameters:
    ///   - renewals: ports that are taken.
    ///   - generation: whose.
    /// - Returns: the plan.
    /// - Throws: `ReplanFailure` when there is none.
    func renew(_ renewals: [PortRenewal], of generation: Int) async throws(ReplanFailure) -> Plan {
        let (known, ports) = self.state.withLock { state in
            (state.changing[generation] ?? state.sources[generation], state.ports[generation])
        }
        guard let source = known, let ports else {
            throw ReplanFailure(description: "generation \(generation) does not run any more")
        }
        ports.forget(renewals)
        do throws(Preparation.Failure) {
            var plan = try await Preparation(source, generation: generation).plan(ports: ports)
            plan.publicAddress = self.address ?? plan.publicAddress
            return plan
        } catch {
            throw ReplanFailure(description: error.lines.joined(separator: "\n"))
        }
    }

    /// Reads the manifest; numbers that `scale` has set for processes that it does not have any more are forgotten.
    private func preparation(
        _ source: inout GenerationSource,
        generation: Int,
        mayForget: Bool
    ) throws(Preparation.Failure) -> Preparation {
        do throws(Preparation.Failure) { return try Preparation(source, generation: generation) } catch {
            guard mayForget, let scaled = source.scaled else { throw error }
            source.scaled = nil
            let preparation = try Preparation(source, generation: generation)
            let words = scaled.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
            self.complain("'scale \(words)' does not fit the manifest any more, whose own numbers are taken")
            return preparation
        }
    }

    /// The text of a manifest.
    static func read(_ path: String) throws(Preparation.Failure) -> String {
        do { return try ManifestSelection.select(path, subcommands: []).source.text } catch let errors as ManifestErrors
        {
            throw Preparation.Failure(errors)
        } catch {
            throw Preparation.Failure(["\(error)"])
        }
    }

    /// Further descriptors of the leases of a generation, which are the caller's.
    func leases(of generation: Int) -> [Int32] { self.state.withLock { $0.ports[generation] }?.copies ?? [] }

    /// The generation is being changed to what was read last.
    func beginChange(_ generation: Int) {
        let ports = self.state.withLock { state in
            state.changing[generation] = state.read.removeValue(forKey: generation)
            return state.ports[generation]
        }
        ports?.devices.beginChange()
    }

    /// A change has ended, and this is what runs.
    func settle(_ generation: Int, _ plan: Plan) {
        self.state.withLock { $0.ports[generation] }?.devices.settle(plan)
    }

    /// The change that was begun is made.
    func applied(_ generation: Int) {
        let change = self.state.withLock { state -> (GenerationSource, GenerationSource)? in
            guard let source = state.changing.removeValue(forKey: generation), source != state.sources[generation]
            else {
                return nil
            }
            state.sources[generation] = source
            var base = state.bases[generation] ?? self.called
            if base.manifestPath == source.manifestPath { base.manifestText = source.manifestText }
            state.bases[generation] = base
            return (source, base)
        }
        guard generation > 1, let (source, base) = change else { return }
        defer { if let notice = self.journal.takeNotice() { self.complain(notice) } }
        do {
            try self.journal.append(
                .applied(JournalRecord.Applied(generation: generation, source: source, base: base))
            )
        } catch {
            self.complain("\(error): the next start is with the manifest as it was before")
        }
    }
}
