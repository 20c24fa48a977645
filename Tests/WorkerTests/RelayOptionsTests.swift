import ArgumentParser
import KVEvents
import Testing

@testable import dynamo_worker

/// What a worker may be told about an engine elsewhere.
@Suite struct RelayOptionsTests {
    private func problem(_ arguments: String...) -> String {
        do {
            _ = try WorkerCommand.parse(arguments)
            return ""
        } catch {
            return WorkerCommand.message(for: error)
        }
    }

    @Test func `an engine's addresses, topic and block size are taken`() throws {
        let command = try WorkerCommand.parse([
            "--relay-kv-events", "tcp://127.0.0.1:5557", "--relay-replay", "tcp://[::1]:5558", "--relay-topic", "kv",
            "--relay-block-size", "64", "--event-form", "1.2",
        ])
        let relay = try #require(command.relay.configuration)
        #expect(relay.endpoint == "tcp://127.0.0.1:5557")
        #expect(relay.replayEndpoint == "tcp://[::1]:5558")
        #expect(relay.topic == "kv")
        #expect(relay.rules.blockSize == 64)
        #expect(try WorkerCommand.parse([]).relay.configuration == nil)
    }

    @Test func `contradictions and addresses that cannot be are refused`() {
        #expect(self.problem("--engine", "mock", "--relay-kv-events", "tcp://a:1").contains("publishes its KV events"))
        #expect(self.problem("--relay-replay", "tcp://a:1").contains("needs --relay-kv-events"))
        for address in ["tcp://*:5557", "5557", "http://a:1", "tcp://a", "tcp://a:0", "ipc://"] {
            #expect(self.problem("--relay-kv-events", address).contains("must be the engine's address"), "\(address)")
        }
        #expect(self.problem("--relay-kv-events", "tcp://a:1", "--relay-block-size", "0").contains("from 1 to 65536"))
        // Without an engine there is nothing to publish.
        #expect(self.problem("--event-form", "1.2").contains("is for --engine mock"))
    }
}
