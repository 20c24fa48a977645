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

        var isReady: Bool { self.namespaces.values.contains { $0 > 0 } }
    }

    /// What came of looking a model up.
    enum Lookup: Sendable, Hashable {
        case unknown
        /// Workers exist, but not for this kind of request.
        case wrongKind(ModelCard.Kind)
        /// Workers exist, but they take something else than text.
        case wrongInput
        /// Cards exist, but no instance is alive.
        case noInstance
        case instances([Instance])
    }

    /// A card that was refused.
    struct Refusal: Sendable, Hashable {
        var key: DiscoveryKey
        var reason: String
    }

    private struct Worker: Sendable {
        var card: ModelCard
        var namespace: String
        var instance: Instance?
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
        for record in snapshot.models {
            guard let name = record.card.displayName else {
                refusals.append(Refusal(key: record.key, reason: "the card has no `display_name`"))
                continue
            }
            if let reason = self.refusal(of: record, name) {
                refusals.append(Refusal(key: record.key, reason: reason))
                continue
            }
            if record.card.kind == .prefill || record.card.kind.isEmpty { continue }
            var base = record
            base.suffix = nil
            let worker = Worker(card: record.card, namespace: record.endpoint.namespace, instance: alive[base.key])
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
        guard !texts.isEmpty else { return .wrongInput }
        let instances = texts.compactMap(\.instance)
        return instances.isEmpty ? .noInstance : .instances(instances)
    }

    /// Tokens in a block of the workers' caches, which is the same for all of a model.
    func blockSize(of name: String) -> Int? { self.models[name]?.first?.card.kvCacheBlockSize }

    /// What is known of a model; nil if there is no card.
    func listing(of name: String) -> Listing? {
        guard let workers = self.models[name], let card = workers.first?.card else { return nil }
        // A worker with a card for chat and one for completions is one worker.
        let namespaces = Dictionary(grouping: workers, by: \.namespace).mapValues { workers in
            Set(workers.compactMap { $0.instance?.id }).count
        }
        return Listing(
            name: name,
            created: self.created[name] ?? 0,
            contextLength: card.contextLength ?? 0,
            namespaces: namespaces
        )
    }

    /// The models that somebody serves, by name.
    var listings: [Listing] { self.models.keys.sorted().compactMap(self.listing).filter(\.isReady) }

    /// The first card of each served model.
    var cards: [(name: String, card: ModelCard)] {
        self.listings.compactMap { listing in self.models[listing.name]?.first.map { (listing.name, $0.card) } }
    }
}
