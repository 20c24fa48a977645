import Foundation
import Logging
import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// Our client against Dynamo's mock engine, which takes requests as its own frontend makes them of tokens.
extension RequestPlaneInteropTests {
    /// A request of a real frontend, without what engines may leave out.
    private static func request(tokens: Int) -> ByteBuffer {
        ByteBuffer(
            string: """
                {"model":"m","token_ids":[1,87,85,71,84,28],"stop_conditions":{"max_tokens":\(tokens),"ignore_eos":true},\
                "sampling_options":{},"output_options":{},"eos_token_ids":[2],"annotations":[]}
                """
        )
    }

    /// The number of tokens of an answer, and how it ended.
    private func read(_ stream: ResponseStream) async throws -> (tokens: Int, end: String?) {
        var (tokens, end) = (0, String?.none)
        for text in try await self.collect(stream) {
            let item = try #require(
                try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any],
                "\(text)"
            )
            tokens += (item["token_ids"] as? [Int])?.count ?? 0
            end = item["finish_reason"] as? String ?? end
        }
        return (tokens, end)
    }

    @Test(arguments: InteropPeer.pairs)
    func ourCallerCallsARealMocker(_ peer: InteropPeer) async throws {
        let python = try TestEnvironment.python(peer.release)
        let model = try TestEnvironment.model()
        let endpoint = EndpointID(namespace: "dynamo", component: "backend", name: "generate")
        try await withTemporaryDirectory { folder in
            try await peer.withBroker { nats in
                var environment = self.environment(peer, folder, nats: nats)
                environment["HF_HUB_OFFLINE"] = "1"
                environment["DYN_NAMESPACE"] = .some(nil)
                let arguments = ["-m", "dynamo.mocker", "--model-path", model]
                _ = try await withProgram(python, arguments, environment: environment) { mocker in
                    let instance = try await self.instance(peer, of: endpoint, in: folder)
                    try await self.withManager(peer, nats: nats) { manager in
                        @Sendable func send(_ tokens: Int, _ id: String) async throws -> ResponseStream {
                            try await manager.client.send(
                                OutgoingRequest(id: id, payload: Self.request(tokens: tokens)),
                                to: instance
                            )
                        }
                        for tokens in [1, 20] {
                            let answer = try await self.read(send(tokens, "r-\(tokens)"))
                            #expect(answer.tokens == tokens)
                            #expect(answer.end == "length")
                        }
                        do {
                            let dropped = try await send(5000, "dropped")
                            for try await _ in dropped { break }
                        }
                        try await withThrowingTaskGroup(of: Int.self) { group in
                            for number in 0..<200 {
                                group.addTask { try await self.read(send(4, "many-\(number)")).tokens }
                            }
                            for try await tokens in group { #expect(tokens == 4) }
                        }
                        let lost = try await send(5000, "lost")
                        var iterator = lost.makeAsyncIterator()
                        _ = try await iterator.next()
                        mocker.send(SIGKILL)
                        let early = await #expect(throws: RequestPlaneError.self) {
                            while try await iterator.next() != nil {}
                        }
                        #expect(early?.code == .streamEndedEarly)
                    }
                }
            }
        }
    }
}
