import NIOCore
import RequestPlane
import TestSupport
import Testing

@testable import RequestPlaneTransports

/// Bodies that have not arrived whole have one limit for all of them.
@Suite struct HTTPBodyBudgetTests {
    @Test func budget() {
        var configuration = HTTPConfiguration()
        configuration.maximumBodySize = 10
        configuration.maximumReceivingSize = 25
        let budget = HTTPBodyBudget(configuration)
        #expect(budget.take(10) && budget.take(15))
        #expect(!budget.take(1))
        #expect(budget.heldBytes == 25, "what is refused is not taken")
        budget.giveBack(15)
        #expect(budget.take(1))
        configuration.maximumReceivingSize = 5
        #expect(HTTPBodyBudget(configuration).limit == 10, "one body always fits")
    }

    @Test func aBodyThatIsGivenUpIsPassedOver() {
        var machine = HTTPRequestReceiver(rootPath: "/v1/rpc", limit: 100)
        _ = machine.receive(HTTPRequestReceiver.Head(isPost: true, target: "/v1/rpc/run", contentLength: 60))
        #expect(machine.isCollecting)
        #expect(machine.receive(ByteBuffer(repeating: 0, count: 30)) == nil)
        machine.giveUpBody(.bodiesFull(limit: 7))
        #expect(machine.isReceiving && !machine.isCollecting)
        #expect(machine.receive(ByteBuffer(repeating: 0, count: 30)) == nil)
        #expect(machine.receiveEnd() == .answer(.bodiesFull(limit: 7)))
        #expect(!machine.isLast, "the connection stays usable")
        machine.giveUpBody(.outside)
        #expect(!machine.isReceiving, "without a body nothing happens")
    }

    private func withServer(_ body: (Loopback, Int) async throws -> Void) async throws {
        try await Loopback.runHTTP {
            $0.http.maximumBodySize = 4096
            $0.http.maximumReceivingSize = 6000
        } _: { loopback in
            let instance = try await loopback.serve(handler: items { _ in [.data(ByteBuffer(string: "1"))] })
            try await body(loopback, try instance.httpPort)
        }
    }

    private let request = http1Request(body: requestBody(body: "\"\(String(repeating: "x", count: 3600))\""))

    /// Sends requests on one connection until they are answered so.
    private func send(_ socket: RawSocket, until status: Int) async throws {
        try await eventually("an answer of \(status); so far \(socket.statuses)") {
            let count = socket.statuses.count
            try await socket.send(self.request)
            try await eventually("an answer") { socket.statuses.count == count + 1 }
            return socket.statuses.last == status
        }
    }

    @Test func othersWaitUntilABodyIsWhole() async throws {
        try await self.withServer { _, port in
            var rest = self.request
            let slow = try await RawSocket.connect(port: port)
            try await slow.send(try #require(rest.readSlice(length: rest.readableBytes - 10)))
            let other = try await RawSocket.connect(port: port)
            try await self.send(other, until: 503)
            #expect(other.receivedText.contains("Server overloaded: "))
            #expect(other.receivedText.contains("all of the 6000 bytes"))
            #expect(other.receivedText.contains("DYN_REQUEST_PLANE=tcp"))
            #expect(slow.statuses.isEmpty)
            // The one that has begun ends as always, and then there is room again, on the same connection.
            try await slow.send(rest)
            try await slow.waitForStatuses([202])
            try await self.send(other, until: 202)
            #expect(!other.isClosed)
        }
    }

    @Test func aConnectionThatEndsGivesItsBytesBack() async throws {
        try await self.withServer { _, port in
            var rest = self.request
            let slow = try await RawSocket.connect(port: port)
            try await slow.send(try #require(rest.readSlice(length: rest.readableBytes - 10)))
            let other = try await RawSocket.connect(port: port)
            try await self.send(other, until: 503)
            try await slow.close()
            try await self.send(other, until: 202)
        }
    }
}
