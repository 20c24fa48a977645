import ArgumentParser
import KVEvents

/// The options of a worker whose engine publishes KV events of its own.
struct RelayOptions: ParsableArguments {
    @Option(
        name: .customLong("relay-kv-events"),
        help: ArgumentHelp(
            "Publish the KV events of an engine (vLLM's and SGLang's format over ZeroMQ) as this worker's; needs DYN_EVENT_PLANE.",
            valueName: "tcp://host:port"
        )
    )
    var engine: String?

    @Option(
        name: .customLong("relay-replay"),
        help: ArgumentHelp("Where that engine repeats messages that were missed.", valueName: "tcp://host:port")
    )
    var replay: String?

    @Option(name: .customLong("relay-topic"), help: "Take topics that begin with this only. (default: every topic)")
    var topic: String?

    @Option(
        name: .customLong("relay-block-size"),
        help: "Tokens of a block of that engine; the model card says the same. (default: 16)"
    )
    var blockSize: Int?

    static let defaultBlockSize = 16

    /// The names of the options that were given.
    var given: [String] {
        let all: [(String, Bool)] = [
            ("--relay-kv-events", self.engine != nil), ("--relay-replay", self.replay != nil),
            ("--relay-topic", self.topic != nil), ("--relay-block-size", self.blockSize != nil),
        ]
        return all.filter(\.1).map(\.0)
    }

    func validate() throws {
        for (flag, address) in [("--relay-kv-events", self.engine), ("--relay-replay", self.replay)] {
            guard let address else { continue }
            let isTCP = address.wholeMatch(of: /tcp:\/\/(\[[0-9A-Fa-f:.]+\]|[^:\/\s*]+):[1-9][0-9]{0,4}/) != nil
            guard isTCP || (address.hasPrefix("ipc://") && address.utf8.count > 6) else {
                throw ValidationError(
                    "\(flag) is '\(address)'; it must be the engine's address as ZeroMQ connects to it, such as tcp://127.0.0.1:5557"
                )
            }
        }
        if self.engine == nil, let flag = self.given.first {
            throw ValidationError("\(flag) needs --relay-kv-events, the address that the engine publishes at")
        }
        if let size = self.blockSize, !(1...65_536).contains(size) {
            throw ValidationError("--relay-block-size is \(size); it must be from 1 to 65536")
        }
    }

    /// What is relayed; nil when nothing is.
    var configuration: EngineRelay.Configuration? {
        self.engine.map { engine in
            EngineRelay.Configuration(
                endpoint: engine,
                replayEndpoint: self.replay,
                topic: self.topic ?? "",
                rules: .v121(blockSize: self.blockSize ?? Self.defaultBlockSize)
            )
        }
    }
}
