import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// Workers that leave discovery while a request to them is not accepted.
@Suite(.timeLimit(.minutes(1))) struct DepartureTests {
    /// A request to a worker that is played by the body, which gets it once it has arrived.
    ///
    /// - Parameters:
    ///   - grace: until what it has not accepted fails.
    ///   - delivery: until what it has not acknowledged fails; nil: it is acknowledged.
    ///   - body: the worker.
    /// - Throws: what the body throws, or when the request does not arrive.
    private func withRequest(
        grace: Duration,
        unacknowledged delivery: Duration? = nil,
        _ body: (Loopback, Instance, RawSocket, Task<[String], any Error>) async throws -> Void
    ) async throws {
        try await Loopback.run({
            $0.responseStream.departureGrace = grace
            $0.responseStream.deliveryGrace = delivery ?? grace
        }) { loopback in
            try await RawSocket.listen { listener in
                let answer = Task { try await loopback.send("{}", to: listener.instance).texts() }
                let request = try await listener.connection(0)
                try await eventually("the request has arrived") { (try? callHomeAddress(of: request)) != nil }
                if delivery == nil { try await request.send(ByteBuffer(integer: UInt32(0))) }
                try await body(loopback, listener.instance, request, answer)
                answer.cancel()
            }
        }
    }

    private func callHome(for request: RawSocket) async throws -> RawSocket {
        let address = try callHomeAddress(of: request)
        let socket = try await RawSocket.connect(to: address.address)
        try await socket.send(Handshake(subject: address.subject).encoded)
        return socket
    }

    @Test func workerThatNeverCallsHome() async throws {
        try await self.withRequest(grace: .milliseconds(100)) { loopback, instance, _, answer in
            var other = instance
            other.transport = .tcp("127.0.0.1:1/other")
            loopback.manager.instanceHasLeft(other)
            loopback.manager.instanceHasLeft(instance)
            let error = await #expect(throws: RequestPlaneError.self) { try await answer.value }
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains("left discovery") == true)
        }
    }

    @Test func workerThatNeverAcknowledges() async throws {
        try await self.withRequest(grace: .seconds(60), unacknowledged: .milliseconds(100)) {
            loopback,
            instance,
            _,
            answer in
            loopback.manager.instanceHasLeft(instance)
            let error = await #expect(throws: RequestPlaneError.self) { try await answer.value }
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains("has not acknowledged the request") == true)
        }
    }

    @Test func requestSentAfterTheDepartureHasATimeOfItsOwn() async throws {
        let delivery = Duration.milliseconds(600)
        try await self.withRequest(grace: .seconds(60), unacknowledged: delivery) { loopback, instance, _, answer in
            loopback.manager.instanceHasLeft(instance)
            let left = ContinuousClock.now
            try await eventually("half of the time is over") { ContinuousClock.now - left > delivery / 2 }
            let sent = ContinuousClock.now
            let late = await #expect(throws: RequestPlaneError.self) {
                _ = try await loopback.send("{}", to: instance).texts()
            }
            #expect(ContinuousClock.now - sent >= delivery)
            #expect(late?.code == .unavailable)
            _ = await #expect(throws: RequestPlaneError.self) { try await answer.value }
        }
    }

    @Test func requestSentWhenNothingElseWaitsForTheDeparted() async throws {
        try await self.withRequest(grace: .seconds(60), unacknowledged: .milliseconds(100)) {
            loopback,
            instance,
            _,
            answer in
            loopback.manager.instanceHasLeft(instance)
            _ = await #expect(throws: RequestPlaneError.self) { try await answer.value }
            let sent = ContinuousClock.now
            let late = await #expect(throws: RequestPlaneError.self) {
                _ = try await loopback.send("{}", to: instance).texts()
            }
            #expect(late?.code == .unavailable)
            #expect(ContinuousClock.now - sent < .seconds(30), "it does not wait for the whole grace")
        }
    }

    @Test func workerThatIsBackBeforeItAcknowledges() async throws {
        try await self.withRequest(grace: .seconds(60), unacknowledged: .milliseconds(100)) {
            loopback,
            instance,
            request,
            answer in
            loopback.manager.instanceHasLeft(instance)
            loopback.manager.instanceIsBack(instance)
            let start = ContinuousClock.now
            try await eventually("the grace is over") { ContinuousClock.now - start > .milliseconds(300) }
            try await request.send(ByteBuffer(integer: UInt32(0)))
            let socket = try await self.callHome(for: request)
            try await socket.send(Prologue.refused("no", nil).encoded)
            let error = await #expect(throws: RequestPlaneError.self) { try await answer.value }
            #expect(error?.code == .remote)
        }
    }

    @Test func workerThatCalledHomeAndNeverAccepts() async throws {
        try await self.withRequest(grace: .milliseconds(100)) { loopback, instance, request, answer in
            let socket = try await self.callHome(for: request)
            // Only when the caller waits for the prologue is it told to give up with a frame.
            try await eventually("the caller knows the worker") { !socket.isClosed && socket.channel.isActive }
            let start = ContinuousClock.now
            loopback.manager.instanceHasLeft(instance)
            let error = await #expect(throws: RequestPlaneError.self) { try await answer.value }
            #expect(ContinuousClock.now - start < .seconds(5))
            #expect([.streamEndedEarly, .unavailable].contains(error?.code))
            #expect(error?.message.contains("left discovery") == true)
            try await socket.waitForClose()
        }
    }

    @Test func orderlyWorkerMayStillAnswer() async throws {
        try await self.withRequest(grace: .seconds(60)) { loopback, instance, request, answer in
            loopback.manager.instanceHasLeft(instance)
            let socket = try await self.callHome(for: request)
            var frames = Prologue.accepted.encoded
            frames.writeItemFrame(.data(ByteBuffer(string: "1")))
            frames.writeFinalFrame()
            try await socket.send(frames)
            #expect(try await answer.value == ["1"])
        }
    }

    @Test func acceptedRequestOutlivesTheRecord() async throws {
        try await self.withRequest(grace: .milliseconds(50)) { loopback, instance, request, answer in
            let socket = try await self.callHome(for: request)
            var frames = Prologue.accepted.encoded
            frames.writeItemFrame(.data(ByteBuffer(string: "1")))
            try await socket.send(frames)
            try await socket.send(ByteBuffer())
            try await eventually("the caller reads") { socket.channel.isActive }
            loopback.manager.instanceHasLeft(instance)
            // Longer than the grace.
            let start = ContinuousClock.now
            try await eventually("the grace is over") { ContinuousClock.now - start > .milliseconds(200) }
            var end = ByteBuffer()
            end.writeFinalFrame()
            try await socket.send(end)
            #expect(try await answer.value == ["1"])
        }
    }

    @Test func instanceThatComesBackIsTrusted() async throws {
        try await self.withRequest(grace: .milliseconds(100)) { loopback, instance, request, answer in
            loopback.manager.instanceHasLeft(instance)
            loopback.manager.instanceIsBack(instance)
            let start = ContinuousClock.now
            try await eventually("the grace is over") { ContinuousClock.now - start > .milliseconds(300) }
            let socket = try await self.callHome(for: request)
            try await socket.send(Prologue.refused("no", nil).encoded)
            let error = await #expect(throws: RequestPlaneError.self) { try await answer.value }
            #expect(error?.code == .remote)
        }
    }
}
