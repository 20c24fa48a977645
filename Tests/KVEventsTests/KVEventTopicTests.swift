import Testing

@testable import KVEvents

@Test("the names of topics are Dynamo's")
func topicNames() {
    #expect(KVEventTopic.allCases.map(\.rawValue) == ["kv-events", "active_sequences_events", "kv_metrics"])
}
