import Discovery
import DynamoRuntime
import Logging
import RequestPlane
import TestSupport
import Testing

@testable import dynamo_frontend

@Suite struct ModelStoreTests {
    private func instance(_ id: UInt64, _ address: String) -> Instance {
        Instance(
            endpoint: EndpointID(namespace: "n", component: "c", name: "e"),
            id: InstanceID(rawValue: id),
            transport: .tcp(address)
        )
    }

    /// The request plane hears of departures, so that calls to a worker that is gone do not wait for ever.
    @Test func tellsWhoHasLeftAndWhoHasCome() async {
        let (one, two) = (self.instance(1, "127.0.0.1:1/e"), self.instance(2, "127.0.0.1:2/e"))
        let moved = self.instance(2, "127.0.0.1:3/e")
        let changes = Recorded<[RuntimeService.InstanceChange]>([])
        let store = ModelStore(logger: Logger(label: "test")) { change in changes.value += [change] }
        let (snapshots, source) = AsyncStream<DiscoverySnapshot>.makeStream()
        for instances in [[], [one, two], [one, two], [one, moved], []] {
            source.yield(DiscoverySnapshot(instances: instances.map { InstanceRecord($0) }))
        }
        source.finish()
        await store.follow(snapshots)
        #expect(
            changes.value == [
                .init(left: [], come: [one, two]), .init(left: [two], come: [moved]),
                .init(left: [one, moved], come: []),
            ]
        )
    }
}
