/// Pulls messages and hands them to one task; there is no task of its own.
final class PullReader {
    private let consumer: JetStreamConsumer
    private let limits: JetStreamConsumer.PullLimits
    private let isImmediate: Bool
    private var machine: PullMachine
    private var inbox: PullInbox?
    private var hasPulled = false

    init(_ consumer: JetStreamConsumer, _ limits: JetStreamConsumer.PullLimits, isImmediate: Bool = false) {
        self.consumer = consumer
        self.limits = limits
        self.isImmediate = isImmediate
        self.machine = PullMachine(
            window: limits.window,
            patience: limits.idleHeartbeat * 2 + .seconds(1),
            connectionNumber: consumer.jetStream.connection.statistics.reconnects,
            now: .now
        )
    }

    /// The next message; nil when the task is cancelled or the connection closed.
    func next() async throws(JetStreamError) -> JetStreamMessage? {
        let inbox = try await self.openedInbox()
        while !Task.isCancelled {
            while let arrival = inbox.take() {
                switch try self.handle(arrival) {
                case .message(let message):
                    // Before the reader is busy with it, so that the next messages come meanwhile.
                    if case .pull(let number, let batch) = self.nextAction(inbox) {
                        try self.pull(number, batch, inbox)
                    }
                    return message
                case .nothing: continue
                case .end: return nil
                }
            }
            switch self.nextAction(inbox) {
            case .pull(let number, let batch): try self.pull(number, batch, inbox)
            case .wait(let deadline):
                // Bounded, because a new connection does not tell of itself.
                await inbox.wait(for: min(deadline - .now, .milliseconds(250)))
            case .check(let pause):
                do throws(JetStreamError) { try await self.check(pause: pause) } catch  where error.code == .cancelled {
                    return nil
                }
            }
        }
        return nil
    }

    /// The next message of the only pull; nil when that has ended.
    func nextOfOnePull() async throws(JetStreamError) -> JetStreamMessage? {
        let inbox = try await self.openedInbox()
        if !self.hasPulled, case .pull(let number, let batch) = self.nextAction(inbox) {
            try self.pull(number, batch, inbox)
        }
        let deadline = ContinuousClock.now + self.limits.expiry + .seconds(1)
        while !Task.isCancelled {
            while let arrival = inbox.take() {
                if case .status(.ended, _) = arrival { return nil }
                switch try self.handle(arrival) {
                case .message(let message): return message
                case .nothing: continue
                case .end: return nil
                }
            }
            guard .now < deadline, case .wait(let silence) = self.nextAction(inbox) else {
                // Silence is what a consumer that is gone answers.
                _ = try await self.consumer.info()
                throw JetStreamError(.timedOut, "\(self.consumer.title) does not answer a pull")
            }
            await inbox.wait(for: min(deadline, silence) - .now)
        }
        throw JetStreamError(.cancelled, "pulling from \(self.consumer.title) was cancelled")
    }

    private func openedInbox() async throws(JetStreamError) -> PullInbox {
        if let inbox { return inbox }
        do throws(NATSError) {
            let inbox = try await PullInbox.open(self.consumer.jetStream.connection)
            self.inbox = inbox
            return inbox
        } catch {
            throw JetStreamError(error, "read from \(self.consumer.title)")
        }
    }

    private func nextAction(_ inbox: PullInbox) -> PullMachine.Action {
        let reconnects = self.consumer.jetStream.connection.statistics.reconnects
        return self.machine.next(buffered: inbox.messages, connectionNumber: reconnects, now: .now)
    }

    private func pull(_ number: UInt64, _ batch: Int, _ inbox: PullInbox) throws(JetStreamError) {
        self.hasPulled = true
        let request = PullRequest(
            batch: batch,
            expires: self.limits.expiry,
            idleHeartbeat: self.isImmediate ? .zero : self.limits.idleHeartbeat,
            isImmediate: self.isImmediate
        )
        try inbox.pull(number, from: "$JS.API.CONSUMER.MSG.NEXT.\(self.consumer.stream).\(self.consumer.name)", request)
    }

    private enum Outcome {
        case message(JetStreamMessage)
        case nothing
        case end
    }

    private func handle(_ arrival: PullInbox.Arrival) throws(JetStreamError) -> Outcome {
        switch arrival {
        case .message(let message):
            self.machine.arrived(now: .now)
            guard let message = JetStreamMessage(message, self.consumer.jetStream) else {
                throw JetStreamError(
                    .damaged,
                    "a message for \(self.consumer.title) has no reply subject of a stream; somebody else writes to its inbox"
                )
            }
            return .message(message)
        case .status(let status, let pull):
            if let code = self.machine.said(status, to: pull, now: .now) {
                throw JetStreamError(code, "cannot pull from \(self.consumer.title): \(status)")
            }
            return .nothing
        case .ended(let error):
            if let error { throw JetStreamError(error, "read from \(self.consumer.title)") }
            return .end
        }
    }

    /// Makes sure that the consumer is there, waiting for a server that is away.
    private func check(pause: Bool) async throws(JetStreamError) {
        if pause { try await self.consumer.jetStream.pause("read from \(self.consumer.title)") }
        do throws(JetStreamError) {
            _ = try await self.consumer.info()
            self.machine.checked()
        } catch {
            switch error.code {
            case .timedOut, .unavailable: try await self.consumer.jetStream.pause("read from \(self.consumer.title)")
            default: throw error
            }
        }
    }
}
