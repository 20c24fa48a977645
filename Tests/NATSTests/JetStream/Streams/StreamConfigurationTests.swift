import Foundation
import NIOCore
import Testing

@testable import NATS

/// Against what a real 1.2.1 sends.
@Suite struct StreamConfigurationTests {
    private static let events = """
        {"name":"namespace-dynamo-component-backend-kv-events","max_bytes":0,"max_msgs":0,"max_msgs_per_subject":0,\
        "discard":"old","subjects":["namespace-dynamo-component-backend-kv-events.*"],"retention":"limits",\
        "max_consumers":0,"max_age":3600000000000,"storage":"file","num_replicas":0,"consumer_limits":null}
        """
    private static let bucket = """
        {"name":"OBJ_namespace-dynamo-component-backend-radix-bucket","max_bytes":0,"max_msgs":0,\
        "max_msgs_per_subject":0,"discard":"new","subjects":["$O.namespace-dynamo-component-backend-radix-bucket.C.>",\
        "$O.namespace-dynamo-component-backend-radix-bucket.M.>"],"retention":"limits","max_consumers":0,"max_age":0,\
        "storage":"file","num_replicas":0,"allow_rollup_hdrs":true,"allow_direct":true,"consumer_limits":null}
        """

    @Test func `a stream is created as Dynamo creates it`() throws {
        let name = "namespace-dynamo-component-backend-kv-events"
        let ours = StreamConfiguration(name: name, subjects: ["\(name).*"], age: .seconds(3600))
        let theirs = try JSONDecoder().decode(StreamConfiguration.self, from: Data(Self.events.utf8))
        #expect(ours == theirs)
        #expect(ours.age == .seconds(3600))
        let again = try JetStreamJSON.decode(StreamConfiguration.self, JetStreamJSON.encode(ours), "test")
        #expect(again == ours)
    }

    @Test func `a bucket is created as Dynamo creates it`() throws {
        let ours = ObjectStore.configuration(of: "namespace-dynamo-component-backend-radix-bucket")
        #expect(try JSONDecoder().decode(StreamConfiguration.self, from: Data(Self.bucket.utf8)) == ours)
    }

    @Test func `settings that mean the same are no difference`() {
        var one = StreamConfiguration(name: "s", subjects: ["a", "b"])
        var other = StreamConfiguration(name: "s", subjects: ["b", "a"])
        other.maximumBytes = -1
        other.replicas = 1
        #expect(one.differences(from: other).isEmpty)
        one.age = .seconds(1)
        #expect(one.differences(from: other) == ["max_age is 0, not 1000000000"])
    }

    @Test func `a purge is written as Dynamo writes it`() throws {
        #expect(String(buffer: try JetStreamJSON.encode(JetStream.Purge.below(9))) == #"{"seq":9}"#)
        #expect(
            String(buffer: try JetStreamJSON.encode(JetStream.Purge.subject("$O.b.C.x"))) == #"{"filter":"$O.b.C.x"}"#
        )
    }

    @Test func `a consumer is created as Dynamo creates it`() throws {
        var consumer = ConsumerConfiguration(name: "13166569998374609250")
        consumer.inactiveThreshold = .seconds(300)
        let expected =
            #"{"ack_policy":"explicit","deliver_policy":"all","durable_name":"13166569998374609250","#
            + #""inactive_threshold":300000000000,"replay_policy":"instant"}"#
        #expect(String(buffer: try JetStreamJSON.encode(consumer)) == expected)
    }
}
