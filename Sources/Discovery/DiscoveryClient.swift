public import RequestPlane

/// Finds other processes and lets them find this one.
///
/// Everything one client publishes stands under one lease with one instance id. The records live as long as `run()` does: it
/// keeps the lease alive, and it drives the watches. Reading a snapshot needs no `run()`.
public protocol DiscoveryClient: Sendable {
    /// The id under which this process publishes.
    ///
    /// - Throws: `DiscoveryError` when the store that gives out the id cannot be reached.
    func instanceID() async throws(DiscoveryError) -> InstanceID

    /// Adds or replaces records. The ids of instances and models must be `instanceID()`.
    ///
    /// - Throws: `DiscoveryError` when the store cannot be written.
    func publish(_ records: [DiscoveryRecord]) async throws(DiscoveryError)

    /// Takes back the models this client published, and leaves its instances: callers choose it no more, and nobody takes what it
    /// already has for lost. Does not fail, as `withdraw()`.
    ///
    /// - Returns: whether there were any.
    func withdrawModels() async -> Bool

    /// Takes back everything this client published; a step of every orderly exit. Does not fail: what cannot be
    /// deleted runs out with the lease.
    func withdraw() async

    /// Takes instances of another process out, one that is known to be gone, before its lease is over. Others that are not there any more
    /// are no error.
    ///
    /// - Throws: `DiscoveryError` when the store cannot be written.
    func remove(_ instances: [InstanceRecord]) async throws(DiscoveryError)

    /// Reads what is published now. Records that cannot be read are left out and logged.
    ///
    /// - Throws: `DiscoveryError` when the store cannot be read.
    func snapshot(_ filter: NamespaceFilter) async throws(DiscoveryError) -> DiscoverySnapshot

    /// The present state, then the new state after each change; a slow reader sees only the latest.
    ///
    /// A store that breaks later does not end the sequence: readers keep the last good state. The sequence ends with `run()`.
    func watch(_ filter: NamespaceFilter) -> AsyncStream<DiscoverySnapshot>

    /// Keeps the lease and the watches going until cancelled. Call once.
    ///
    /// - Throws: `DiscoveryError` when that is impossible from the start.
    func run() async throws
}
