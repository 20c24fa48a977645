import Discovery
import KVEvents
import KVRouter
import RequestPlane

/// Who tells of one rank's blocks, and who answers what was missed of them.
struct KVSource: Hashable, Sendable {
    /// Asked for what was missed.
    var query: Instance
    var form: DynamoEventForm
    /// The id in the envelopes: the worker's on 1.2, one of its own on 1.6.
    var publisher: UInt64

    /// The sources of the workers of an endpoint, as discovery has them.
    ///
    /// A worker that serves routers of both forms is heard in the older one.
    static func all(of endpoint: EndpointID, in snapshot: DiscoverySnapshot) -> [WorkerRank: KVSource] {
        var sources: [WorkerRank: KVSource] = [:]
        for record in snapshot.eventSources
        where record.endpoint == endpoint && record.topic == KVEventTopic.events.rawValue {
            guard let recovery = record.recovery?.instance else { continue }
            let rank = WorkerRank(worker: record.worker.rawValue, rank: record.rank)
            sources[rank] = KVSource(query: recovery, form: .release16, publisher: record.publisher.rawValue)
        }
        for record in snapshot.instances {
            guard let rank = self.rank(of: record.instance, endpoint) else { continue }
            sources[rank] = KVSource(
                query: record.instance,
                form: .release12,
                publisher: record.instance.id.rawValue
            )
        }
        return sources
    }

    /// The rank whose query endpoint of 1.2 this is.
    private static func rank(of instance: Instance, _ endpoint: EndpointID) -> WorkerRank? {
        let prefix = KVIndexFeed.queryEndpointPrefix
        guard instance.endpoint.namespace == endpoint.namespace, instance.endpoint.component == endpoint.component,
            instance.endpoint.name.hasPrefix(prefix), let rank = UInt32(instance.endpoint.name.dropFirst(prefix.count))
        else { return nil }
        return WorkerRank(worker: instance.id.rawValue, rank: rank)
    }
}
