import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// Requests near to the most that each plane carries between our own processes, echoed.
@Suite struct LargestPayloadTests {
    private func check(
        _ size: Int,
        _ configure: (inout NetworkManager.Configuration) -> Void
    ) async throws {
        try await Loopback.run(configure) { loopback in
            let instance = try await loopback.serve(
                handler: items { [.data($0.payload), .data(ByteBuffer(string: "1"))] }
            )
            var text = ByteBuffer(string: "\"")
            text.writeRepeatingByte(UInt8(ascii: "x"), count: size - 2)
            text.writeString("\"")
            let payload = text
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<2 {
                    group.addTask {
                        let request = OutgoingRequest(id: "r-\(number)", payload: payload)
                        var answer: [ResponseItem] = []
                        for try await item in try await loopback.manager.client.send(request, to: instance) {
                            answer.append(item)
                        }
                        return answer == [.data(payload), .data(ByteBuffer(string: "1"))]
                    }
                }
                for try await isWhole in group { #expect(isWhole) }
            }
        }
    }

    @Test func overTCP() async throws { try await self.check(31_000_000) { $0.mode = .tcp } }

    @Test func overHTTP() async throws { try await self.check(8_000_000) { $0.mode = .http } }

    @Test(arguments: [(1_048_576, 1_047_500), (16_777_216, 15_000_000), (16_777_216, 16_776_000)])
    func overNATS(maximumPayload: Int, size: Int) async throws {
        try await NATSServerFixture.run(configuration: "max_payload: \(maximumPayload)") { server in
            let settings = try NATSSettings(server: server.url)
            try await self.check(size) {
                $0.mode = .nats
                $0.nats = settings
            }
        }
    }
}
