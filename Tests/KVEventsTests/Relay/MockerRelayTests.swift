import Foundation
import KVEvents
import KVRouter
import TestSupport
import Testing

/// The relay against the engine events of a real mocker, which frontends keep busy.
@Suite struct MockerRelayTests {
    @Test func `events of a real mocker are relayed, live and replayed`() async throws {
        let python = try TestEnvironment.python(.v121)
        let model = try TestEnvironment.model()
        let engine = try EngineFixture()
        let port = try freePort()
        var configuration = engine.configuration()
        configuration.rules = .v121(blockSize: 16)
        let settings = configuration
        try await withTemporaryDirectory { folder in
            let environment: [String: String?] = [
                "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": folder.path(), "DYN_REQUEST_PLANE": "tcp",
                "DYN_EVENT_PLANE": "zmq", "HF_HUB_OFFLINE": "1", "NATS_SERVER": nil,
                "DYN_NAMESPACE": nil, "DYN_TCP_RPC_HOST": "127.0.0.1",
            ]
            let mocker = [
                "-m", "dynamo.mocker", "--model-path", model, "--zmq-kv-events-ports", "\(engine.publishPort)",
                "--zmq-replay-ports", "\(engine.replayPort)", "--num-gpu-blocks-override", "24", "--block-size", "16",
                "--speedup-ratio", "50",
            ]
            let frontend = ["-m", "dynamo.frontend", "--http-host", "127.0.0.1", "--http-port", "\(port)"]
            _ = try await withProgram(python, mocker, environment: environment) { _ in
                try await withProgram(python, frontend, environment: environment) { _ in
                    let url = "http://127.0.0.1:\(port)/v1"
                    try await eventually(within: .seconds(60), "the frontend knows the model") {
                        (try? await HTTPRequests.get("\(url)/models").text.contains(model)) == true
                    }
                    try await withRelay(settings) { live, changes in
                        try await eventually("the relay is connected") { live.statistics.connections == 1 }
                        for number in 0..<3 {
                            let prompt = String(repeating: "prompt number \(number) ", count: 20)
                            let body = #"{"model":"\#(model)","prompt":"\#(prompt)","max_tokens":8}"#
                            let reply = try await HTTPRequests.post("\(url)/completions", json: body)
                            #expect(reply.status == 200, "\(reply.text)")
                        }
                        try await eventually("stored and evicted") {
                            Self.held(changes.value).removed > 0
                        }
                        // A relay that starts now has the same state, out of the replay alone.
                        try await withRelay(settings) { late, again in
                            try await eventually("the same changes") { again.value.count == changes.value.count }
                            #expect(again.value == changes.value)
                            #expect(late.statistics.replayedMessages > 0)
                        }
                        #expect(live.statistics.refusedMessages == 0)
                        #expect(live.statistics.resets == 0)
                    }
                }
            }
        }
    }

    /// Applies changes, and checks each store's hashes and each removal.
    private static func held(_ changes: [RelayedChange]) -> (blocks: Set<BlockHash>, removed: Int) {
        var (blocks, removed) = (Set<BlockHash>(), 0)
        for change in changes {
            switch change.change {
            case .stored(let parent, let stored):
                #expect(stored.map(\.block) == BlockHashing.chained(stored.map(\.tokens), after: parent))
                blocks.formUnion(stored.map(\.block))
            case .removed(let gone):
                for block in gone { #expect(blocks.remove(block) != nil) }
                removed += gone.count
            case .cleared: Issue.record("nothing was cleared")
            }
        }
        return (blocks, removed)
    }
}
