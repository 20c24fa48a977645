import FuzzSupport
import KVEvents
import KVRouter
import Logging
import NIOCore
import RequestPlane
import Testing

/// An engine is a foreign program: whatever it sends ends in a defined way, and costs no more than its size explains.
@Suite struct EngineFuzzTests {
    @Test func `batches of every shape are read or refused, and leave a relay that goes on`() throws {
        var seeds: [[UInt8]] = []
        for release in ["1.2.1", "1.6.1"] {
            let rows = try RelayTableTests.fixture("zmq-vllm-relay-table-\(release).json")["rows"] as? [[String: Any]]
            let messages =
                try RelayTableTests.fixture("zmq-vllm-kv-events-mocker-\(release).json")["messages"]
                as? [[String: Any]]
            for message in (rows ?? []) + (messages ?? []) {
                if let payload = try RelayTableTests.frames(message).last { seeds.append(Array(buffer: payload)) }
            }
        }
        #expect(seeds.count > 40)
        let report = try FuzzDriver.fromEnvironment(FuzzTarget("engine batch", seeds: seeds, check: Self.check))
        print(report)
        #expect(report.inputs > 0)
    }

    private static func check(_ bytes: [UInt8], _ random: inout FuzzRandom) throws {
        for rules in [
            RelayRules.v121(blockSize: nil), .v121(blockSize: 16), .v161(blockSize: 4), .v161(blockSize: nil),
        ] {
            var machine = RelayMachine(rules: rules, sequence: EngineSequence(canReplay: random.oneIn(2)))
            let publication = RelayPublication(
                ranks: 2,
                logger: Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() }
            )
            var actions = machine.connected() + machine.replayFailed("none")
            actions += machine.published([ByteBuffer(), ByteBuffer(integer: UInt64(0)), ByteBuffer(bytes: bytes)])
            actions += machine.published([ByteBuffer(bytes: bytes), ByteBuffer(bytes: bytes)])
            actions += machine.replayed([ByteBuffer(), ByteBuffer(integer: UInt64(1)), ByteBuffer(bytes: bytes)])
            var blocks = 0
            for case .publish(let changes) in actions {
                for change in changes {
                    if case .stored(_, let stored) = change.change {
                        blocks += stored.count
                        try hold(stored.isEmpty || change.blockSize != 0, "blocks of no tokens")
                        try hold(
                            rules.blockSize == nil || change.blockSize == nil,
                            "a size that is known is said again"
                        )
                    }
                }
                publication.take(changes)
            }
            // A block needs a hash and a token at least, and the batch came twice at most.
            try hold(blocks <= bytes.count, "\(blocks) blocks of \(bytes.count) bytes")
            try hold(machine.statistics.events <= 2 * bytes.count, "more events than bytes")
            try hold(publication.blockCount <= bytes.count, "more blocks than bytes")
            // Whatever came, the next batch is read.
            let before = machine.statistics.events
            for number in UInt64(1)...2 {
                _ = machine.published([ByteBuffer(), ByteBuffer(integer: number), ByteBuffer(bytes: Self.cleared)])
            }
            _ = machine.replayFailed("none")
            try hold(machine.statistics.events > before, "the next batch is not read")
        }
    }

    /// `[0.0, [["AllBlocksCleared"]], 0]`.
    private static let cleared: [UInt8] =
        [0x93, 0xCB] + [UInt8](repeating: 0, count: 8) + [0x91, 0x91, 0xB0] + Array("AllBlocksCleared".utf8) + [0x00]
}
