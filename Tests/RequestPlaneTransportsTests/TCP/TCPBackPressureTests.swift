import NIOCore
import RequestPlane
import RequestPlaneTransports
import Synchronization
import TestSupport
import Testing

@Suite struct TCPBackPressureTests {
    /// What the sockets and buffers of one stream may hold before the handler is not pulled any more.
    private static let limit = 24 * 1024 * 1024

    @Test(arguments: [100, 64 * 1024])
    func slowReaderHoldsTheHandler(_ size: Int) async throws {
        try await Loopback.run { loopback in
            let endless = EndlessHandler(size: size)
            let instance = try await loopback.serve(handler: endless.handler)
            let stream = try await loopback.send("{}", to: instance)
            var iterator = stream.makeAsyncIterator()
            _ = try await iterator.next()
            let held = try await self.settled(endless.produced)
            #expect(held * size < Self.limit)
            // Reading goes on where it stopped.
            for _ in 0..<held { _ = try await iterator.next() }
            try await eventually("the handler is pulled again") { endless.produced.current > held }
        }
    }

    @Test func callerThatDoesNotReadHoldsTheHandler() async throws {
        try await Loopback.run { loopback in
            let endless = EndlessHandler(size: 64 * 1024)
            let instance = try await loopback.serve(handler: endless.handler)
            try await RawSocket.listen(autoRead: false) { listener in
                let parts = instance.transport.value.split(separator: "/", maxSplits: 1)
                let request = try await RawSocket.connect(to: String(parts[0]))
                let home = "127.0.0.1:\(listener.port)"
                try await request.send(try requestFrame(path: String(parts[1]), address: home))
                let answer = try await listener.connection(0)
                let held = try await self.settled(endless.produced)
                #expect(held * endless.size < Self.limit)
                try await answer.reset()
                try await eventually("the handler is cancelled") { loopback.manager.server.inFlight == 0 }
            }
        }
    }

    /// The count once it has stopped to change.
    private func settled(_ count: Counter) async throws -> Int {
        var last = -1
        var equal = 0
        try await eventually(within: .seconds(30), "the handler is not pulled any more") {
            let now = count.current
            equal = now == last && now > 0 ? equal + 1 : 0
            last = now
            return equal >= 10
        }
        return last
    }
}
