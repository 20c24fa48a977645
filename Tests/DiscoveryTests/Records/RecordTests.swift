import Discovery
import RequestPlane
import Testing

@Suite("Records of real processes")
struct RecordTests {
    @Test(
        "every captured record is read, knows its key and file, and keeps its meaning",
        arguments: DiscoveryFixture.captures
    )
    func captures(name: String) throws {
        let entries = try DiscoveryFixture.entries(name)
        #expect(!entries.isEmpty)
        for entry in entries {
            let bucket = try #require(DiscoveryBucket.allCases.first { entry.key.hasPrefix($0.rawValue) })
            let record = try DiscoveryRecord(bucket: bucket, bytes: entry.record.bytes)
            #expect(record.key.full == entry.key)
            if let file = entry.file { #expect("\(bucket.rawValue)/\(record.key.fileName)" == file) }
            // Field by field: what was read is written again, whatever its order was.
            let written = Set(try #require(record.json.object).members)
            #expect(written.isSubset(of: Set(try #require(entry.record.object).members)))
            if case .model(let model) = record {
                #expect(model.card.displayName != nil)
                #expect(record.json["card_json"] == entry.record["card_json"])
            }
        }
    }

    @Test(
        "the three planes",
        arguments: [
            (#"{"tcp":"10.0.0.5:36205/e511/generate"}"#, TransportAddress.tcp("10.0.0.5:36205/e511/generate")),
            (#"{"http":"http://10.0.0.5:8888/v1/rpc/generate"}"#, .http("http://10.0.0.5:8888/v1/rpc/generate")),
            (#"{"nats_tcp":"dynamo_backend.generate-e511"}"#, .nats("dynamo_backend.generate-e511")),
        ]
    )
    func transports(json: String, address: TransportAddress) throws {
        let record = try InstanceRecord(json: Self.instance(transport: json))
        #expect(record.instance.transport == address)
        #expect(record.instance.id.rawValue == 16_506_099_476_009_761_263)
        #expect(record.json["transport"]?.text == json)
    }

    @Test(
        "a record that cannot be read says which field is wrong",
        arguments: [
            (#"[]"#, "expected a record of type `Endpoint`, found an array"),
            (#"{"type":"Model"}"#, "expected a record of type `Endpoint`, found `Model`"),
            (#"{"type":"Endpoint"}"#, "`Endpoint` record: field `transport` must be an object with one member"),
            (
                #"{"type":"Endpoint","transport":{"quic":"x"}}"#,
                "`Endpoint` record: field `transport` must be tcp, http or nats_tcp, not quic"
            ),
            (
                #"{"type":"Endpoint","transport":{"tcp":5}}"#,
                "`Endpoint` record: field `transport.tcp` must be a string"
            ),
            (
                #"{"type":"Endpoint","transport":{"tcp":"x"},"namespace":"a","component":"b","endpoint":"c","instance_id":-1}"#,
                "`Endpoint` record: field `instance_id` must be a number from 0 to 2^64-1"
            ),
            (
                #"{"type":"Endpoint","transport":{"tcp":"x"},"request_plane_codec":"cbor"}"#,
                "`Endpoint` record: field `request_plane_codec` must be json or msgpack"
            ),
        ]
    )
    func faults(json: String, message: String) throws {
        let error = #expect(throws: DiscoveryError.self) { try InstanceRecord(json: JSONValue(parsing: json)) }
        #expect(error?.description == message)
    }

    @Test("a codec of 1.6 is read, its absence means JSON")
    func codec() throws {
        var fields = try #require(Self.instance(transport: #"{"tcp":"x"}"#).object)
        #expect(try InstanceRecord(json: .object(fields)).codec == nil)
        fields["request_plane_codec"] = "msgpack"
        #expect(try InstanceRecord(json: .object(fields)).codec == .msgpack)
    }

    @Test("an adapter's card has a key of its own")
    func adapter() throws {
        let endpoint = EndpointID(namespace: "n", component: "c", name: "e")
        let record = ModelRecord(
            endpoint: endpoint,
            id: InstanceID(rawValue: 255),
            suffix: "my-lora",
            card: .text(name: "x", kind: .chat, contextLength: 1)
        )
        #expect(record.key.full == "v1/mdc/n/c/e/ff/my-lora")
        #expect(try ModelRecord(json: record.json) == record)
    }

    @Test("an event channel of each scope and way is read as it was written, under its own key")
    func eventChannels() throws {
        let endpoint = EndpointID(namespace: "n", component: "c", name: "e")
        let cases: [(EventScope, String)] = [
            (.namespace("n"), "v1/event_channels/n//kv_metrics/ff"),
            (.component(namespace: "n", component: "c"), "v1/event_channels/n/c/kv_metrics/ff"),
            (
                .endpoint(endpoint),
                "v1/event_channels/namespace/n/component/c/endpoint/e/topic/kv_metrics/ff"
            ),
        ]
        for (scope, key) in cases {
            for transport in [
                EventChannelRecord.Transport.nats(subjectPrefix: "p"), .zmq(endpoint: "tcp://10.0.0.5:1"),
            ] {
                let record = EventChannelRecord(
                    scope: scope,
                    topic: "kv_metrics",
                    publisher: InstanceID(rawValue: 255),
                    transport: transport
                )
                #expect(record.key.full == key)
                #expect(try EventChannelRecord(json: record.json) == record)
                #expect(scope.covers(endpoint))
                #expect(!scope.covers(EndpointID(namespace: "m", component: "c", name: "e")))
            }
        }
    }

    @Test(
        "a record of the event plane that cannot be read says which field is wrong",
        arguments: [
            (
                #"{"type":"EventChannel","namespace":"n","component":"c","transport":{"kind":"Quic"}}"#,
                "`EventChannel` record: field `transport.kind` must be Nats or Zmq"
            ),
            (
                #"{"type":"EventChannel","transport":{"kind":"Zmq","config":{}}}"#,
                "`EventChannel` record: field `transport.config.endpoint` must be a string"
            ),
            (
                #"{"type":"EventChannel","transport":{"kind":"Zmq","config":{"endpoint":"x"}},"scope":{"kind":"galaxy"}}"#,
                "`EventChannel` record: field `scope` must be an endpoint with namespace, component and name"
            ),
            (
                #"{"type":"EventSource","scope":{"kind":"endpoint","endpoint":{"namespace":"n","component":"c","name":"e"}}}"#,
                "`EventSource` record: field `publisher_id` must be a number from 0 to 2^64-1"
            ),
        ]
    )
    func eventFaults(json: String, message: String) throws {
        let value = try JSONValue(parsing: json)
        let error = #expect(throws: DiscoveryError.self) {
            if value["type"] == "EventSource" {
                _ = try EventSourceRecord(json: value)
            } else {
                _ = try EventChannelRecord(json: value)
            }
        }
        #expect(error?.description == message)
    }

    private static func instance(transport: String) throws -> JSONValue {
        try JSONValue(
            parsing: #"{"type":"Endpoint","component":"backend","endpoint":"generate","namespace":"dynamo","#
                + #""instance_id":16506099476009761263,"transport":\#(transport),"device_type":"cuda","new_field":{}}"#
        )
    }
}
