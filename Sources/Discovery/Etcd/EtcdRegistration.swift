import RequestPlane

/// What this process has published in etcd, and what of it must still be written; does no I/O itself.
///
/// The id of the instance is the id of its first lease. A lost lease is asked for again by its id, so that both stay the same.
struct EtcdRegistration: Sendable {
    /// A record that must be written.
    struct Write: Sendable, Equatable {
        var key: DiscoveryKey
        var value: [UInt8]
        var lease: UInt64
    }

    private(set) var id: InstanceID?
    private(set) var lease: UInt64?
    private var records: [DiscoveryKey: [UInt8]] = [:]
    private var pending: Set<DiscoveryKey> = []

    /// A lease was granted; the first one decides over the id.
    mutating func granted(_ lease: UInt64) -> InstanceID {
        let id = self.id ?? InstanceID(rawValue: lease)
        self.id = id
        if self.lease == nil { self.lease = id.rawValue }
        return id
    }

    /// Records are to be published; needs a lease.
    mutating func publish(_ entries: [(DiscoveryKey, [UInt8])]) {
        // Withdrawn meanwhile: a record without a lease would stay for good.
        guard self.lease != nil else { return }
        for (key, value) in entries {
            self.records[key] = value
            self.pending.insert(key)
        }
    }

    /// The lease does not exist any more, and with it no record.
    ///
    /// - Returns: how many records must be written again; nil if it is the lease of an earlier publication.
    mutating func lost(_ lease: UInt64) -> Int? {
        guard self.lease == lease else { return nil }
        self.pending = Set(self.records.keys)
        return self.pending.count
    }

    /// What must be written next: an instance before its card.
    var next: Write? {
        guard let lease = self.lease, let key = self.pending.min(), let value = self.records[key] else { return nil }
        return Write(key: key, value: value, lease: lease)
    }

    /// A record was written.
    ///
    /// - Returns: whether it may stay; false if it was withdrawn meanwhile.
    mutating func wrote(_ write: Write) -> Bool {
        guard let value = self.records[write.key] else { return false }
        if value == write.value {
            self.pending.remove(write.key)
        } else {
            // Two writers met, and the older value may have come last.
            self.pending.insert(write.key)
        }
        return true
    }

    /// No model is to be published any more; the lease stays.
    ///
    /// - Returns: what must be deleted.
    mutating func withdrawModels() -> [DiscoveryKey] {
        let models = self.records.keys.filter { $0.bucket == .models }.sorted()
        for key in models { self.records[key] = nil }
        self.pending.subtract(models)
        return models
    }

    /// Nothing is to be published any more.
    ///
    /// - Returns: the lease to give up.
    mutating func withdraw() -> UInt64? {
        defer { self = EtcdRegistration(id: self.id) }
        return self.lease
    }

    init(id: InstanceID? = nil) { self.id = id }
}
