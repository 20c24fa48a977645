import Discovery
import KVRouter
import NIOCore
import RequestPlane
import Synchronization
import TestSupport
import Testing

@testable import dynamo_worker

@Suite("The simulated engine as a service", .timeLimit(.minutes(1)))
struct MockServiceTests {
    private final class Recorder: KVChangeSink {
        let changes: Mutex<[KVEvent.Change]> = Mutex([])
        let load = Mutex(MockEngine.Load())

        func record(_ changes: [KVEvent.Change], rank: UInt32) { self.changes.withLock { $0 += changes } }
    }

    private func withService(
        decodeTime: Duration = .zero,
        _ body: (MockService, Recorder) async throws -> Void
    ) async throws {
        var configuration = MockEngine.Configuration()
        configuration.blockSize = 4
        configuration.blocks = 64
        configuration.prefillTime = .zero
        configuration.decodeTime = decodeTime
        configuration.vocabulary = ByteLevelModel.letters
        let recorder = Recorder()
        let service = MockService(
            configuration: configuration,
            limits: MockRequest.Limits(contextLength: 200, cacheTokens: 256, answerTokens: 8),
            sink: recorder,
            report: { load in recorder.load.withLock { $0 = load } }
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await service.run() }
            try await body(service, recorder)
            group.cancelAll()
            await #expect(throws: CancellationError.self) { try await group.waitForAll() }
        }
    }

    private func request(_ json: String) -> IncomingRequest {
        IncomingRequest(
            id: "r",
            endpoint: EndpointID(namespace: "n", component: "c", name: "e"),
            payload: ByteBuffer(string: json)
        )
    }

    private func texts(_ stream: MockAnswer.Stream) async throws -> [String] {
        var texts: [String] = []
        for try await item in stream {
            switch item {
            case .data(let payload), .bare(let payload): texts.append(String(buffer: payload))
            case .failure(let error): texts.append("\(error)")
            case .annotation: texts.append("annotation")
            }
        }
        return texts
    }

    @Test("tokens one by one, then the reason; the changes are published in their order")
    func answers() async throws {
        try await self.withService { service, recorder in
            for _ in 0..<3 {
                let texts = try await self.texts(
                    service.answer(self.request(#"{"token_ids":[1,2,3,4,5],"stop_conditions":{"max_tokens":4}}"#))
                )
                #expect(texts.count == 5)
                #expect(texts.dropLast().allSatisfy { $0.hasPrefix(#"{"token_ids":["#) && $0.hasSuffix("]}") })
                #expect(texts.last == #"{"token_ids":[],"finish_reason":"length"}"#)
            }
            let changes = recorder.changes.withLock { $0 }
            let blocks = changes.flatMap { change -> [StoredBlock] in
                if case .stored(_, let blocks) = change { blocks } else { [] }
            }
            #expect(blocks.count == 2, "the prompt's block and one of the answer; the same again is not stored again")
            #expect(blocks.first?.tokens == BlockHashing(blockSize: 4).hashes([1, 2, 3, 4]).first)
        }
    }

    @Test("many at once all end")
    func many() async throws {
        try await self.withService { service, recorder in
            try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<100 {
                    let request = self.request(#"{"token_ids":[1,2,3,4,\#(number)]}"#)
                    group.addTask { try await self.texts(service.answer(request)).count }
                }
                for try await count in group { #expect(count == 9) }
            }
            try await eventually("nothing runs") { recorder.load.withLock { $0.running + $0.waiting == 0 } }
        }
    }

    @Test("a bad request is an error inside the stream")
    func failure() async throws {
        try await self.withService { service, _ in
            let texts = try await self.texts(service.answer(self.request("{}")))
            #expect(texts == ["InvalidArgument: `token_ids` is empty"])
        }
    }

    @Test("a reader that goes away frees its blocks")
    func cancellation() async throws {
        try await self.withService(decodeTime: .milliseconds(20)) { service, recorder in
            let stream = service.answer(self.request(#"{"token_ids":[1,2,3,4],"stop_conditions":{"max_tokens":150}}"#))
            await withThrowingTaskGroup(of: Void.self) { group in
                let (first, arrived) = AsyncStream.makeStream(of: Void.self)
                group.addTask { for try await _ in stream { arrived.finish() } }
                for await _ in first {}
                #expect(recorder.load.withLock { $0.running } == 1)
                group.cancelAll()
            }
            try await eventually("the blocks are free") {
                recorder.load.withLock { $0.running == 0 && $0.activeBlocks == 0 }
            }
        }
    }
}
