import Foundation
import KVEvents
import KVRouter
import Logging
import TestSupport

/// A small engine in Python, started for a test.
struct EngineFixture {
    let publishPort: Int
    let replayPort: Int

    init() throws {
        self.publishPort = try freePort()
        self.replayPort = try freePort()
    }

    /// Runs the engine for as long as the body runs.
    func run<Value: Sendable>(
        _ script: String,
        generation: Int = 0,
        forget: Int = 0,
        _ body: (RunningProgram) async throws -> Value
    ) async throws -> Value {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Fixtures/engine.py").path()
        let arguments = [file, "\(self.publishPort)", "\(self.replayPort)", "\(generation)", script, "\(forget)"]
        return try await withProgram(try TestEnvironment.python(.v121), arguments) { program in
            let value = try await body(program)
            program.send(SIGKILL)
            return value
        }.value
    }

    func configuration(replay: Bool = true, timeout: Duration = .seconds(5)) -> EngineRelay.Configuration {
        EngineRelay.Configuration(
            endpoint: "tcp://127.0.0.1:\(self.publishPort)",
            replayEndpoint: replay ? "tcp://127.0.0.1:\(self.replayPort)" : nil,
            rules: .v121(blockSize: 4),
            replayTimeout: timeout
        )
    }
}

/// Runs a relay beside a body.
func withRelay<Value: Sendable>(
    _ configuration: EngineRelay.Configuration,
    _ body: (EngineRelay, Recorded<[RelayedChange]>) async throws -> Value
) async throws -> Value {
    let thread = try ZMQThread()
    let changes = Recorded<[RelayedChange]>([])
    let relay = EngineRelay(configuration, thread: thread, logger: Logger(label: "test")) { published in
        changes.value += published
    }
    let result: Result<Value, any Error> = await withTaskGroup(of: Void.self) { group in
        group.addTask { try? await relay.run() }
        let result: Result<Value, any Error>
        do { result = .success(try await body(relay, changes)) } catch { result = .failure(error) }
        group.cancelAll()
        return result
    }
    await thread.shutdown()
    return try result.get()
}

extension [RelayedChange] {
    /// Stored blocks by their number, 0 for a clear, below zero for a removal.
    var numbers: [Int] {
        self.flatMap { relayed -> [Int] in
            switch relayed.change {
            case .stored(_, let blocks): blocks.map { Int(truncatingIfNeeded: $0.block.rawValue) }
            case .removed(let blocks): blocks.map { -Int(truncatingIfNeeded: $0.rawValue) }
            case .cleared: [0]
            }
        }
    }
}
