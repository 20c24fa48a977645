import DynamoRuntime
import KVEvents
import Logging

/// Publishes the KV events of an engine as the worker's own.
struct EngineEvents: Sendable {
    let events: WorkerEvents
    private let relay: EngineRelay
    private let thread: ZMQThread

    /// - Parameters:
    ///   - configuration: where the engine publishes.
    ///   - events: the worker's place on the event plane.
    ///   - blockSize: tokens of a block, as the model card says.
    ///   - logger: hears of what is lost.
    /// - Throws: `ZMQError` when the system has no thread left.
    init(
        _ configuration: EngineRelay.Configuration,
        _ events: WorkerEvents,
        blockSize: Int,
        logger: Logger
    ) throws(ZMQError) {
        self.events = events
        self.thread = try ZMQThread()
        let publication = RelayPublication(ranks: 1, logger: logger)
        publication.attach([events.publisher], blockSize: blockSize)
        self.relay = EngineRelay(configuration, thread: self.thread, logger: logger, sink: { publication.take($0) })
    }

    /// Relays until cancelled.
    ///
    /// - Throws: `ZMQError` when the endpoint is not valid.
    func run() async throws {
        let result: Result<Void, ZMQError>
        do throws(ZMQError) { result = .success(try await self.relay.run()) } catch { result = .failure(error) }
        await self.thread.shutdown()
        try result.get()
    }
}
