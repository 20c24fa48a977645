package import KVRouter
package import Logging
import NIOCore
import Synchronization

/// Tells routers how many blocks of its cache a worker uses, each time that changes (contract `kv-events.md`, section 6).
///
/// `update` is for the engine: it does no I/O. Values that follow each other faster than they are sent are left out.
package final class LoadPublisher: Sendable {
    private let channels: [EventChannel]
    private let worker: WorkerRank
    private let logger: Logger
    private let used = Mutex<UInt64?>(nil)
    private let wakeUps: AsyncStream<Void>
    private let wakeUp: AsyncStream<Void>.Continuation

    /// An engine may take thousands of steps in a second; nobody needs to know each.
    private static let pause: Duration = .milliseconds(20)

    /// - Parameters:
    ///   - channels: of the topic of loads, one for each form.
    ///   - worker: whose load.
    ///   - logger: hears why a load waits.
    package init(_ channels: [EventChannel], worker: WorkerRank, logger: Logger) {
        self.channels = channels
        self.worker = worker
        self.logger = logger
        (self.wakeUps, self.wakeUp) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// Takes the number of blocks that are used now.
    package func update(usedBlocks: UInt64) {
        let isNew = self.used.withLock { used in
            defer { used = usedBlocks }
            return used != usedBlocks
        }
        if isNew { self.wakeUp.yield() }
    }

    /// Sends what has changed until cancelled; call once.
    package func run() async {
        var sent: UInt64?
        for await _ in self.wakeUps {
            while let used = self.used.withLock({ $0 }), used != sent, !Task.isCancelled {
                do {
                    for channel in self.channels { try channel.publish(self.payload(used)) }
                    sent = used
                } catch {
                    self.logger.debug("the load of the worker waits", metadata: ["reason": "\(error)"])
                }
                try? await Task.sleep(for: Self.pause)
            }
        }
    }

    private func payload(_ used: UInt64) -> ByteBuffer {
        var payload = ByteBuffer()
        payload.writeWorkerLoad(WorkerLoad(worker: self.worker, usedBlocks: used))
        return payload
    }
}
