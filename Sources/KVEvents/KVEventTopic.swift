/// The topics of Dynamo's event plane that have to do with KV caches (contract `kv-events.md`, sections 2 and 6).
package enum KVEventTopic: String, Sendable, CaseIterable {
    /// What workers hold.
    case events = "kv-events"
    /// What routers have sent where, for each other.
    case activeSequences = "active_sequences_events"
    /// How busy workers are.
    case load = "kv_metrics"
}
