import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
import TestSupport

/// Clients of a soak: each asks both models in turn, streamed and not, and looks at the whole of each answer.
final class SoakClients: Sendable {
    /// A model, and whether it says what it was asked.
    struct Model: Sendable {
        var name: String
        var echoes: Bool
    }

    private let url: String
    private let models: [Model]
    private let ledger: SoakLedger
    private let isOver = Atomic(false)
    private let isPaused = Atomic(false)
    private let busy = Atomic(0)

    /// Between two requests of one client.
    private static let pause = Duration.milliseconds(150)
    /// The gateway holds a request for half of this.
    private static let patience = Duration.seconds(60)

    init(_ url: String, _ models: [Model], _ ledger: SoakLedger) {
        (self.url, self.models, self.ledger) = (url, models, ledger)
    }

    /// A client whose connections end soon after their last request, so that none is left when the deployment is measured.
    static func withClient<Value: Sendable>(_ body: (HTTPClient) async throws -> Value) async throws -> Value {
        var configuration = HTTPClient.Configuration()
        configuration.connectionPool.idleTimeout = .milliseconds(500)
        return try await HTTPClient.withHTTPClient(configuration: configuration, body)
    }

    /// The models that are listed.
    static func models(_ url: String) async throws -> [Model] {
        struct List: Decodable {
            struct Entry: Decodable { var id: String }
            var data: [Entry]
        }
        return try await self.withClient { client in
            var models: [Model] = []
            try await eventually(within: .seconds(30), "both models are listed") {
                let request = HTTPClientRequest(url: "\(url)/v1/models")
                let body = try await client.execute(request, timeout: .seconds(30)).body.collect(upTo: 1 << 20)
                let list = try JSONDecoder().decode(List.self, from: Data(body.readableBytesView))
                models = list.data.map { Model(name: $0.id, echoes: $0.id == "echo") }.sorted { $0.name < $1.name }
                return models.count == 2 && models.contains { $0.echoes }
            }
            return models
        }
    }

    /// Runs clients while a body runs.
    func run(_ number: Int, _ body: () async throws -> Void) async throws {
        try await Self.withClient { client in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<number { group.addTask { await self.ask(client, index) } }
                let result: Result<Void, any Error>
                do { result = .success(try await body()) } catch { result = .failure(error) }
                self.isOver.store(true, ordering: .relaxed)
                try await group.waitForAll()
                try result.get()
            }
        }
    }

    /// Runs a body while no client has a request.
    func paused<Value>(_ body: () async throws -> Value) async throws -> Value {
        self.isPaused.store(true, ordering: .sequentiallyConsistent)
        defer { self.isPaused.store(false, ordering: .relaxed) }
        try await eventually(within: Self.patience, "all requests have ended") {
            self.busy.load(ordering: .sequentiallyConsistent) == 0
        }
        return try await body()
    }

    private func ask(_ client: HTTPClient, _ index: Int) async {
        var number = 0
        while !self.isOver.load(ordering: .relaxed) {
            self.busy.add(1, ordering: .sequentiallyConsistent)
            if !self.isPaused.load(ordering: .sequentiallyConsistent) {
                let model = self.models[(index + number) % self.models.count]
                let streams = (index + number / self.models.count).isMultiple(of: 2)
                number += 1
                let began = ContinuousClock.now
                let words = "client \(index) asks \(number) and waits for its own words"
                let (answer, text) = await self.answer(client, model, words, streams)
                self.ledger.take(
                    SoakLedger.Request(
                        model: model,
                        streams: streams,
                        answer: answer,
                        text: text,
                        began: began,
                        ended: .now
                    )
                )
            }
            self.busy.subtract(1, ordering: .sequentiallyConsistent)
            try? await Task.sleep(for: Self.pause)
        }
    }

    private func answer(
        _ client: HTTPClient,
        _ model: Model,
        _ words: String,
        _ streams: Bool
    ) async -> (SoakLedger.Answer, String) {
        await withTaskGroup(of: (SoakLedger.Answer, String)?.self) { group in
            group.addTask { await self.exchange(client, model, words, streams) }
            group.addTask {
                try? await Task.sleep(for: Self.patience)
                return nil
            }
            defer { group.cancelAll() }
            return await group.next().flatMap { $0 } ?? (.late, "nothing within \(Self.patience)")
        }
    }

    private static let tokens = 12

    private func exchange(
        _ client: HTTPClient,
        _ model: Model,
        _ words: String,
        _ streams: Bool
    ) async -> (SoakLedger.Answer, String) {
        var text = ""
        var hasHead = false
        do {
            var request = HTTPClientRequest(url: "\(self.url)/v1/chat/completions")
            request.method = .POST
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: try Self.body(model, words, streams)))
            let response = try await client.execute(request, timeout: .seconds(600))
            hasHead = true
            for try await piece in response.body { text += String(buffer: piece) }
            guard response.status == .ok else { return (.error(Int(response.status.code)), text) }
            return (Self.judge(text, model, words, streams), text)
        } catch {
            return (hasHead ? .cut : .nothing, "\(error) after '\(text.suffix(200))'")
        }
    }

    private static func body(_ model: Model, _ words: String, _ streams: Bool) throws -> Data {
        var object: [String: Any] = [
            "model": model.name, "max_tokens": Self.tokens, "stream": streams,
            "messages": [["role": "user", "content": words]],
        ]
        if streams { object["stream_options"] = ["include_usage": true] }
        return try JSONSerialization.data(withJSONObject: object)
    }

    /// Whether an answer is whole, and the one to its question.
    static func judge(_ text: String, _ model: Model, _ words: String, _ streams: Bool) -> SoakLedger.Answer {
        var pieces = [text]
        if streams {
            if text.contains("event: error") || text.contains("\"error\"") { return .errorEvent }
            pieces = text.split(separator: "\n").filter { $0.hasPrefix("data: ") }.map { String($0.dropFirst(6)) }
            // Without its end a stream is not whole, even when the connection ended as it should.
            guard pieces.popLast() == "[DONE]" else { return .wrong }
        }
        var content = ""
        var reason: String?
        var tokens: Int?
        for piece in pieces {
            guard let object = try? JSONSerialization.jsonObject(with: Data(piece.utf8)) as? [String: Any] else {
                return .wrong
            }
            tokens = (object["usage"] as? [String: Any])?["completion_tokens"] as? Int ?? tokens
            guard let choice = (object["choices"] as? [[String: Any]])?.first else { continue }
            let part = choice[streams ? "delta" : "message"] as? [String: Any]
            content += part?["content"] as? String ?? ""
            reason = choice["finish_reason"] as? String ?? reason
        }
        // What a mocker says is no text always; its tokens are counted.
        let isWhole =
            model.echoes
            ? content.split(separator: " ") == words.split(separator: " ")
            : tokens == Self.tokens && reason == "length"
        return isWhole && reason != nil ? .good : .wrong
    }
}
