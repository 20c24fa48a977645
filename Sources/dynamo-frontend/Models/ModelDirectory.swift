import Discovery
import DynamoRuntime
import RequestPlane

/// Which models there are and who serves them; a value that is fed with snapshots of discovery.
///
/// Rules from `discovery.md` 6: a model is served while its card and an instance record with the same name and id exist; a card
/// that contradicts one that is already accepted for the same model and namespace is refused, and with it its instance.
struct ModelDirectory: Sendable {
    /// What a client sees of a model.
    struct Listing: Sendable, Hashable {
        var name: String
        /// Seconds since the epoch at which the model was first seen.
        var created: Int
        var contextLength: Int
        /// The namespaces that have a card, with the number of live workers in each.
        var namespaces: [String: Int]
        /// Live workers that process prompts for those, by namespace, where there are any.
        var prefills: [String: Int] = [:]
        /// Whether this frontend has all that it needs to serve the model.
        var isPrepared = true

        var isReady: Bool { self.isPrepared && self.namespaces.values.contains { $0 > 0 } }
    }

    /// What came of looking a model up.
    enum Lookup: Sendable, Hashable {
        case unknown
        /// Workers exist, but not for this kind of request.
        case wrongKind(ModelCard.Kind)
        /// Workers exist, but they take neither text nor tokens.
        case wrongInput
        /// Workers that take tokens exist, but their tokenizer, or what they hold, is not known yet.
        case unprepared
        /// Cards exist, but no instance is alive.
        case noInstance
        /// Workers that take text.
        case instances([Instance])
        /// Workers that take tokens.
        case tokens([Instance])
    }

    /// A model whose workers take tokens, with what is needed to prepare it.
    struct TokenModelSource: Sendable, Hashable {
        var name: String
        var card: ModelCard
        /// Where its workers decode, or do everything.
        var endpoint: EndpointID
        /// Where its workers process prompts for the others.
        var prefillEndpoint: EndpointID?
    }

    /// A card that was refused.
    struct Refusal: Sendable, Hashable {
        var key: DiscoveryKey
        var reason: String
    }

    private struct Worker: Sendable {
        var card: ModelCard
        var endpoint: EndpointID
        var instance: Instance?

        var namespace: String { self.endpoint.namespace }
    }

    private struct Terms: Sendable, Hashable {
        var contextLength: Int?
        var blockSize: Int?
    }

    private struct Place: Hashable {
        var model: String
        var namespace: String
    }

    private var models: [String: [Worker]] = [:]
    /// Workers that process prompts only, by model.
    private var prefills: [String: [Worker]] = [:]
    /// The models of workers that take tokens for which everything is there.
    var prepared: Set<String> = []
    private var created: [String: Int] = [:]
    private var accepted: [Place: (terms: Terms, keys: Set<DiscoveryKey>)] = [:]
    /// All instances, for `/health`.
    private(set) var instances: [InstanceRecord] = []

    /// Takes the state of discovery.
    ///
    /// Instances count whichever plane they serve on: the client takes the plane from the instance.
    ///
    /// - Parameters:
    ///   - snapshot: the whole state.
    ///   - now: seconds since the epoch.
    /// - Returns: the cards that were refused.
    mutating func update(_ snapshot: DiscoverySnapshot, now: Int) -> [Refusal] {
        self.instances = snapshot.instances
        var alive: [DiscoveryKey: Instance] = [:]
        for record in snapshot.instances {
            let base = ModelRecord(
                endpoint: record.instance.endpoint,
                id: record.instance.id,
                card: ModelCard(fields: [:])
            )
            alive[base.key] = record.instance
        }
        let present = Set(snapshot.models.map(\.key))
        for (place, entry) in self.accepted where entry.keys.isDisjoint(with: present) { self.accepted[place] = nil }

        var refusals: [Refusal] = []
        self.models = [:]
        self.prefills = [:]
        for record in snapshot.models {
            guard let name = record.card.displayName else {
                refusals.append(Refusal(key: record.key, reason: "the card has no `display_name`"))
                continue
            }
            if let reason = self.refusal(of: record, name) {
                refusals.append(Refusal(key: record.key, reason: reason))
                continue
            }
            // Dynamo 1.6 says so in a field of its own.
            let isPrefill = record.card.kind == .prefill || record.card.fields["worker_type"]?.string == "prefill"
            if record.card.kind.isEmpty, !isPrefill { continue }
            var base = record
            base.suffix = nil
            let worker = Worker(card: record.card, endpoint: record.endpoint, instance: alive[base.key])
            if isPrefill {
                self.prefills[name, default: []].append(worker)
                continue
            }
            self.models[name, default: []].append(worker)
            if self.created[name] == nil { self.created[name] = now }
        }
        self.created = self.created.filter { self.models[$0.key] != nil }
        return refusals
    }

    private mutating func refusal(of record: ModelRecord, _ name: String) -> String? {
        let place = Place(model: name, namespace: record.endpoint.namespace)
        let terms = Terms(contextLength: record.card.contextLength, blockSize: record.card.kvCacheBlockSize)
        guard var entry = self.accepted[place] else {
            self.accepted[place] = (terms, [record.key])
            return nil
        }
        guard entry.terms == terms else {
            let found =
                "context_length \(Self.text(terms.contextLength)), kv_cache_block_size \(Self.text(terms.blockSize))"
            let held = "\(Self.text(entry.terms.contextLength)), \(Self.text(entry.terms.blockSize))"
            return "its \(found) differ from those of `\(name)` in this namespace (\(held))"
        }
        entry.keys.insert(record.key)
        self.accepted[place] = entry
        return nil
    }

    private static func text(_ number: Int?) -> String { number.map(String.init) ?? "none" }

    // MARK: Questions

    func lookup(_ model: String, _ kind: TextRequestKind) -> Lookup {
        guard let workers = self.models[model] else { return .unknown }
        let wanted: ModelCard.Kind = kind == .chat ? .chat : .completions
        let fitting = workers.filter { $0.card.kind.contains(wanted) }
        guard !fitting.isEmpty else { return .wrongKind(workers.reduce(into: []) { $0.formUnion($1.card.kind) }) }
        let texts = fitting.filter { $0.card.input == .text }
        let instances = texts.compactMap(\.instance)
        if !instances.isEmpty { return .instances(instances) }
        let tokens = fitting.filter { $0.card.input == .tokens }
        guard !tokens.isEmpty else { return texts.isEmpty ? .wrongInput : .noInstance }
        let takers = tokens.compactMap(\.instance)
        if takers.isEmpty { return .noInstance }
        return self.prepared.contains(model) ? .tokens(takers) : .unprepared
    }

    /// The models whose workers take tokens; of several endpoints of a model the first one counts.
    var tokenModels: [TokenModelSource] {
        self.models.keys.sorted().compactMap { name in
            let takers = self.models[name]?.filter { $0.card.input == .tokens } ?? []
            // The card of one that was killed names files that nobody gives out any more.
            guard let worker = takers.first(where: { $0.instance != nil }) ?? takers.first else { return nil }
            let prefill = self.prefills[name]?.first { $0.namespace == worker.namespace }
            return TokenModelSource(
                name: name,
                card: worker.card,
                endpoint: worker.endpoint,
                prefillEndpoint: prefill?.endpoint
            )
        }
    }

    /// The workers that process prompts for others.
    func prefillInstances(of model: String) -> [Instance] { (self.prefills[model] ?? []).compactMap(\.instance) }

    /// Tokens in a block of the workers' caches, which is the same for all of a model.
    func blockSize(of name: String) -> Int? { self.models[name]?.first?.card.kvCacheBlockSize }

    /// What is known of a model; nil if there is no card.
    func listing(of name: String) -> Listing? {
        guard let workers = self.models[name], let card = workers.first?.card else { return nil }
        // A worker with a card for chat and one for completions is one worker.
        func counts(_ workers: [Worker]) -> [String: Int] {
            Dictionary(grouping: workers, by: \.namespace).mapValues { Set($0.compactMap { $0.instance?.id }).count }
        }
        return Listing(
            name: name,
            created: self.created[name] ?? 0,
            contextLength: card.contextLength ?? 0,
            namespaces: counts(workers),
            prefills: counts(self.prefills[name] ?? []).filter { $0.value > 0 },
            isPrepared: self.prepared.contains(name) || !workers.allSatisfy { $0.card.input == .tokens }
        )
    }

    /// The models that somebody serves, by name.
    var listings: [Listing] { self.models.keys.sorted().compactMap(self.listing).filter(\.isReady) }

    /// The first card of each served model.
    var cards: [(name: String, card: ModelCard)] {
        self.listings.compactMap { listing in self.models[listing.name]?.first.map { (listing.name, $0.card) } }
    }
}
