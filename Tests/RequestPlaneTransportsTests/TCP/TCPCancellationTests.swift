import NIOCore
import RequestPlane
import RequestPlaneTransports
import Synchronization
import TestSupport
import Testing

@Suite struct TCPCancellationTests {
    @Test func droppedStreamCancelsTheHandler() async throws {
        try await Loopback.run { loopback in
            let endless = EndlessHandler(pause: .milliseconds(1))
            let instance = try await loopback.serve(handler: endless.handler)
            do {
                let stream = try await loopback.send("{}", to: instance)
                for try await _ in stream { break }
            }
            try await eventually("the handler is cancelled") { loopback.manager.server.inFlight == 0 }
            #expect(loopback.manager.statistics.first?.cancellations == 1)
        }
    }

    /// Handlers that never suspend must not keep the tasks from running that cancel them.
    @Test func busyHandlersAreCancelled() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(handler: EndlessHandler().handler)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<32 {
                    group.addTask {
                        let stream = try await loopback.send("{}", to: instance, id: "r\(number)")
                        for try await _ in stream.prefix(100) {}
                    }
                }
                try await group.waitForAll()
            }
            try await eventually("every handler is cancelled") { loopback.manager.server.inFlight == 0 }
        }
    }

    @Test func unreadStreamCancelsTheHandler() async throws {
        try await Loopback.run { loopback in
            let endless = EndlessHandler(pause: .milliseconds(1))
            let instance = try await loopback.serve(handler: endless.handler)
            _ = try await loopback.send("{}", to: instance)
            try await eventually("the handler is cancelled") { loopback.manager.server.inFlight == 0 }
        }
    }

    @Test func cancelledReaderCancelsTheHandler() async throws {
        try await Loopback.run { loopback in
            let endless = EndlessHandler(pause: .milliseconds(1))
            let instance = try await loopback.serve(handler: endless.handler)
            let reader = Task {
                for try await _ in try await loopback.send("{}", to: instance) {}
            }
            try await eventually("items flow") { endless.produced.current > 3 }
            reader.cancel()
            let error = await #expect(throws: RequestPlaneError.self) { try await reader.value }
            #expect(error?.code == .cancelled)
            try await eventually("the handler is cancelled") { loopback.manager.server.inFlight == 0 }
        }
    }

    @Test func handlerThatHasNotAcceptedIsCancelled() async throws {
        try await Loopback.run { loopback in
            let began = Counter(0)
            let cancelled = Counter(0)
            let instance = try await loopback.serve(
                handler: { _ in
                    _ = began.increment()
                    do { try await Task.sleep(for: .seconds(3600)) } catch {
                        _ = cancelled.increment()
                        throw error
                    }
                    return AsyncThrowingStream { $0.finish() }
                }
            )
            let caller = Task { _ = try await loopback.send("{}", to: instance) }
            try await eventually("the handler runs") { began.current == 1 }
            caller.cancel()
            let error = await #expect(throws: RequestPlaneError.self) { try await caller.value }
            #expect(error?.code == .cancelled)
            try await eventually("the handler is cancelled") {
                cancelled.current == 1 && loopback.manager.server.inFlight == 0
            }
        }
    }

    @Test func stopEndsNormallyAndCancelsTheHandler() async throws {
        try await Loopback.run { loopback in
            let endless = EndlessHandler(pause: .milliseconds(1))
            let instance = try await loopback.serve(handler: endless.handler)
            let stream = try await loopback.send("{}", to: instance)
            var count = 0
            for try await _ in stream {
                count += 1
                if count == 2 { stream.stop() }
            }
            #expect(count >= 2)
            try await eventually("the handler is cancelled") { loopback.manager.server.inFlight == 0 }
        }
    }

    /// A worker that calls home for a request that was cancelled is told so.
    @Test func cancelledBeforeTheCallHome() async throws {
        try await Loopback.run { loopback in
            try await RawSocket.listen { listener in
                let caller = Task { _ = try await loopback.send("{}", to: listener.instance) }
                let request = try await listener.connection(0)
                try await request.waitForBytes(100)
                let address = try callHomeAddress(of: request)
                caller.cancel()
                await #expect(throws: RequestPlaneError.self) { try await caller.value }
                try await request.send(ByteBuffer(integer: UInt32(0)))
                let home = try await RawSocket.connect(to: address.address)
                try await home.send(Handshake(subject: address.subject).encoded)
                try await home.waitForClose()
                #expect(home.messages.map(ControlFrame.init) == [.kill])
            }
        }
    }

    // MARK: As the worker sees callers

    private func withRawCaller(
        _ loopback: Loopback,
        _ instance: Instance,
        _ body: (RawSocket) async throws -> Void
    ) async throws {
        try await RawSocket.listen { listener in
            let parts = instance.transport.value.split(separator: "/", maxSplits: 1)
            let request = try await RawSocket.connect(to: String(parts[0]))
            let home = "127.0.0.1:\(listener.port)"
            try await request.send(try requestFrame(path: String(parts[1]), address: home))
            try await request.waitForBytes(4)
            #expect(request.received == ByteBuffer(integer: UInt32(0)))
            try await body(try await listener.connection(0))
        }
    }

    @Test(arguments: [ControlFrame.stop, .kill, .sentinel])
    func controlFrameCancelsAndCloses(_ frame: ControlFrame) async throws {
        try await Loopback.run { loopback in
            let endless = EndlessHandler(pause: .milliseconds(1))
            let instance = try await loopback.serve(handler: endless.handler)
            try await self.withRawCaller(loopback, instance) { home in
                try await eventually("items flow") { home.messages.count > 4 }
                try await home.send(frame.encoded)
                try await home.waitForClose()
                let messages = home.messages
                #expect(try Handshake(messages[0]).subject == "subject-1")
                #expect(try Prologue(messages[1]) == .accepted)
                #expect(!messages.contains { ControlFrame($0) == .sentinel }, "nothing but items after a stop")
                try await eventually("the handler is cancelled") { loopback.manager.server.inFlight == 0 }
                #expect(loopback.manager.statistics.first?.cancellations == 1)
            }
        }
    }

    @Test(arguments: [false, true])
    func callerThatVanishesCancels(_ reset: Bool) async throws {
        try await Loopback.run { loopback in
            // The handler is silent: nothing but the probe can tell that the caller is gone.
            let began = Counter(0)
            let instance = try await loopback.serve(
                handler: { _ in
                    _ = began.increment()
                    return EndlessHandler.Items(owner: EndlessHandler(pause: .seconds(3600)))
                }
            )
            try await self.withRawCaller(loopback, instance) { home in
                try await eventually("the request was accepted") { home.messages.count == 2 }
                if reset { try await home.reset() } else { try await home.close() }
                try await eventually(within: .seconds(2), "the handler is cancelled") {
                    loopback.manager.server.inFlight == 0
                }
            }
            #expect(began.current == 1)
        }
    }

    @Test func halfClosedCallerIsStillAnswered() async throws {
        try await Loopback.run { loopback in
            let gate = AsyncStream<Void>.makeStream()
            let instance = try await loopback.serve(
                handler: { _ in
                    AsyncThrowingStream { continuation in
                        let task = Task {
                            for await _ in gate.stream { continuation.yield(.data(ByteBuffer(string: "1"))) }
                            continuation.finish()
                        }
                        continuation.onTermination = { _ in task.cancel() }
                    }
                }
            )
            try await self.withRawCaller(loopback, instance) { home in
                try await eventually("the request was accepted") { home.messages.count == 2 }
                try await home.channel.close(mode: .output).get()
                // The worker probes with an empty frame.
                try await eventually("the caller was probed") { home.messages.count == 3 }
                gate.continuation.yield()
                gate.continuation.finish()
                try await home.waitForClose()
                let last = home.messages.suffix(3)
                #expect(
                    last.map(\.body).map { String(buffer: $0) }.first == #"{"data":{"data":1},"complete_final":false}"#
                )
                #expect(last.last.flatMap(ControlFrame.init) == .sentinel)
            }
        }
    }

    @Test func closingTheRequestConnectionCancelsNothing() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(handler: counting(to: 3))
            try await RawSocket.listen { listener in
                let parts = instance.transport.value.split(separator: "/", maxSplits: 1)
                let request = try await RawSocket.connect(to: String(parts[0]))
                let home = "127.0.0.1:\(listener.port)"
                try await request.send(try requestFrame(path: String(parts[1]), address: home))
                try await request.waitForBytes(4)
                try await request.reset()
                let answer = try await listener.connection(0)
                try await eventually("the answer is complete") {
                    answer.messages.last.flatMap(ControlFrame.init) == .sentinel
                }
                #expect(answer.messages.count == 2 + 3 + 2)
            }
        }
    }
}
