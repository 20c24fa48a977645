import KVEvents
import KVRouter
import Logging
import TestSupport
import Testing

/// The relay against an engine in another process, whose losses are made on purpose.
@Suite struct EngineRelayTests {
    @Test func `lost messages are had again`() async throws {
        let engine = try EngineFixture()
        try await engine.run("wpppssppsp") { _ in
            try await withRelay(engine.configuration()) { relay, changes in
                try await eventually("nine blocks") { changes.value.numbers.count >= 9 }
                #expect(changes.value.numbers == Array(1...9))
                #expect(relay.statistics.resets == 0)
                #expect(relay.statistics.replays >= 3)
                #expect(relay.statistics.expected == 9)
                let stored = KVEvent.Change.stored(
                    parent: nil,
                    blocks: [
                        StoredBlock(
                            block: BlockHash(rawValue: 1),
                            tokens: TokensHash(rawValue: 14_643_705_804_678_351_452)
                        )
                    ]
                )
                #expect(changes.value.first == RelayedChange(stored))
            }
        }
    }

    @Test func `what came before the relay is asked for`() async throws {
        let engine = try EngineFixture()
        try await engine.run("pppp") { program in
            try await program.waitForOutput("done")
            try await withRelay(engine.configuration()) { relay, changes in
                try await eventually("four blocks") { changes.value.numbers.count >= 4 }
                #expect(changes.value.numbers == [1, 2, 3, 4])
                #expect(relay.statistics.messages == 0)
                #expect(relay.statistics.replayedMessages == 4)
            }
        }
    }

    @Test func `what the engine has not kept takes everything back`() async throws {
        let engine = try EngineFixture()
        try await engine.run("wppllpp") { _ in
            try await withRelay(engine.configuration()) { relay, changes in
                try await eventually("five changes") { changes.value.numbers.count >= 5 }
                #expect(changes.value.numbers == [1, 2, 0, 5, 6])
                #expect(relay.statistics.resets == 1)
            }
        }
    }

    @Test func `without replay a gap takes everything back`() async throws {
        let engine = try EngineFixture()
        try await engine.run("wppspp") { _ in
            try await withRelay(engine.configuration(replay: false)) { relay, changes in
                try await eventually("five changes") { changes.value.numbers.count >= 5 }
                #expect(changes.value.numbers == [1, 2, 0, 4, 5])
                #expect(relay.statistics.replays == 0)
            }
        }
    }

    @Test func `a silent replay endpoint does not stop the events`() async throws {
        let engine = try EngineFixture()
        var configuration = engine.configuration(timeout: .milliseconds(200))
        configuration.replayEndpoint = "tcp://127.0.0.1:\(try freePort())"
        try await engine.run("wppspp") { _ in
            try await withRelay(configuration) { relay, changes in
                try await eventually("five changes") { changes.value.numbers.count >= 5 }
                #expect(changes.value.numbers == [1, 2, 0, 4, 5])
                #expect(relay.statistics.failedReplays == 2)
            }
        }
    }

    @Test(arguments: [true, false])
    func `an engine that starts again has nothing of before`(_ replay: Bool) async throws {
        let engine = try EngineFixture()
        try await withRelay(engine.configuration(replay: replay)) { relay, changes in
            try await engine.run("wppp") { _ in
                try await eventually("three blocks") { changes.value.numbers.count >= 3 }
            }
            // More messages than the first has had: the numbers alone do not give it away.
            try await engine.run("wppppp", generation: 1) { _ in
                try await eventually("all blocks of the second") { changes.value.numbers.count >= 9 }
            }
            #expect(changes.value.numbers == [1, 2, 3, 0, 11, 12, 13, 14, 15])
            #expect(relay.statistics.resets == 1)
            #expect(relay.statistics.connections == 2)
        }
    }

    @Test func `a wrong endpoint says so`() async throws {
        let thread = try ZMQThread()
        let configuration = EngineRelay.Configuration(endpoint: "tcp://*:1", rules: .v121(blockSize: 4))
        let relay = EngineRelay(configuration, thread: thread, logger: .init(label: "test")) { _ in }
        let error = await #expect(throws: ZMQError.self) { try await relay.run() }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("tcp://*:1") == true)
        await thread.shutdown()
    }
}
