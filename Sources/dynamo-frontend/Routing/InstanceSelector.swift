import KVRouter
import RequestPlane

/// Chooses the instance for a request; a value without clock or randomness of its own.
struct InstanceSelector: Sendable {
    /// How long an instance that could not be reached is left out.
    static let absence: Duration = .seconds(5)

    /// What came of choosing.
    enum Outcome: Sendable, Hashable {
        case instance(Instance)
        /// Why there is none; never `chosen`.
        case none(Selection)
    }

    private let configuration: RouterConfiguration
    /// Whether nobody tells what workers hold.
    private let predicts: Bool
    private var selectors: [EndpointID: WorkerSelector] = [:]
    private var load = ActiveLoad()
    private var prediction: BlockPrediction
    private var absent: [InstanceID: ContinuousClock.Instant] = [:]

    /// Creates a selector.
    ///
    /// - Parameters:
    ///   - configuration: how instances are chosen.
    ///   - predicts: whether in mode kv what instances hold is predicted, because nobody tells it.
    init(_ configuration: RouterConfiguration, predicts: Bool = true) {
        self.configuration = configuration
        self.predicts = predicts && configuration.mode == .kv
        self.prediction = BlockPrediction(lifetime: configuration.predictionLifetime)
    }

    /// Chooses among instances, and counts the request there where the mode looks at load.
    ///
    /// - Parameters:
    ///   - id: the request's; it counts until `ended`.
    ///   - request: what the choice depends on; its overlaps count only where they are not predicted.
    ///   - instances: who could serve the request.
    ///   - excluded: who has refused it already.
    ///   - now: the time.
    ///   - generator: decides where chance does.
    /// - Returns: an instance, or why there is none. Instances that are left out are taken when there is nobody else.
    mutating func choose(
        _ id: String,
        _ request: SelectionRequest = SelectionRequest(),
        from instances: [Instance],
        excluding excluded: Set<InstanceID>,
        now: ContinuousClock.Instant,
        using generator: inout some RandomNumberGenerator
    ) -> Outcome {
        if !self.absent.isEmpty { self.absent = self.absent.filter { $0.value > now } }
        let candidates = excluded.isEmpty ? instances : instances.filter { !excluded.contains($0.id) }
        let present = self.absent.isEmpty ? candidates : candidates.filter { self.absent[$0.id] == nil }
        // Whom the request names is asked however it is.
        let pool = present.isEmpty || request.named != nil ? candidates : present
        guard let endpoint = (pool.first ?? instances.first)?.endpoint else { return .none(.noWorker) }

        var request = request
        if self.predicts { request.overlaps = self.prediction.overlaps(request.blocks, now: now) }
        var selector = self.selectors[endpoint] ?? WorkerSelector(configuration: self.configuration)
        let selection = selector.select(
            request,
            among: pool.map { Candidate(WorkerRank(worker: $0.id.rawValue)) },
            load: self.load,
            using: &generator
        )
        if self.configuration.mode.countsRequests, case .chosen(let choice) = selection {
            selector.commit(id, request, choice, to: &self.load, now: now)
            if self.predicts { self.prediction.record(request.blocks, on: choice.worker, now: now) }
        }
        self.selectors[endpoint] = selector
        guard case .chosen(let choice) = selection,
            let instance = pool.first(where: { $0.id.rawValue == choice.worker.worker })
        else { return .none(selection) }
        return .instance(instance)
    }

    /// An instance could not be reached.
    mutating func failed(_ id: InstanceID, now: ContinuousClock.Instant) {
        self.absent[id] = now + Self.absence
    }

    /// The first token of a request has come.
    mutating func markPrefillCompleted(_ id: String) { self.load.markPrefillCompleted(id) }

    /// A request has ended, in whatever way.
    mutating func ended(_ id: String) { self.load.free(id) }
}
