import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// A deployment of our processes and Dynamo's: where they find each other, and the port of the frontend.
struct MixedPlace {
    let directory: URL
    var port: Int
    var plane = RequestPlaneMode.tcp
    var nats: String?

    var url: String { "http://127.0.0.1:\(self.port)" }

    /// What every process of the deployment gets.
    func environment(host: String? = "127.0.0.1") -> [String: String?] {
        [
            "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": self.directory.path,
            "DYN_REQUEST_PLANE": self.plane.rawValue,
            "DYN_EVENT_PLANE": "zmq", "HF_HUB_OFFLINE": "1", "NATS_SERVER": self.nats, "DYN_NAMESPACE": nil,
            "DYN_TCP_RPC_HOST": host, "DYN_HTTP_RPC_HOST": host, "DYN_HTTP_RPC_PORT": "0", "DYN_HTTP_PORT": nil,
            "DYN_SYSTEM_PORT": nil,
        ]
    }

    /// More than fits into the first instant of an answer.
    static let words = (1...600).map(String.init).joined(separator: " ")

    static func chat(_ model: String, _ text: String, streams: Bool = false) -> String {
        #"{"model":"\#(model)",\#(streams ? #""stream":true,"# : "")"messages":[{"role":"user","content":"\#(text)"}]}"#
    }

    func waitForModel(_ model: String, _ program: RunningProgram) async throws {
        try await eventually(within: .seconds(60), "`\(model)` is listed; output of the frontend:\n\(program.output)") {
            (try? await HTTPRequests.get(self.url + "/v1/models", limit: 2))?.text.contains("\"\(model)\"") ?? false
        }
    }

    /// Asks for a chat, streamed and not.
    func checkChat(_ model: String) async throws {
        let path = self.url + "/v1/chat/completions"
        let whole = try await HTTPRequests.post(path, json: Self.chat(model, "one two three"))
        #expect(whole.status == 200, "\(whole.text)")
        let choice = (try whole.object()["choices"] as? [[String: Any]])?.first
        let content = (choice?["message"] as? [String: Any])?["content"] as? String
        #expect(content?.split(separator: " ") == ["one", "two", "three"])
        #expect(choice?["finish_reason"] as? String == "stop")
        #expect((try whole.object()["usage"] as? [String: Any])?["completion_tokens"] as? Int == 3)

        let streamed = try await HTTPRequests.post(path, json: Self.chat(model, "one two three", streams: true))
        #expect(streamed.status == 200)
        let events = streamed.text.split(separator: "\n\n").map { $0.dropFirst("data: ".count) }
        #expect(events.last == "[DONE]")
        let pieces = try events.dropLast().compactMap { event -> String? in
            let object = try JSONSerialization.jsonObject(with: Data(event.utf8)) as? [String: Any]
            let choice = (object?["choices"] as? [[String: Any]])?.first
            return (choice?["delta"] as? [String: Any])?["content"] as? String
        }.filter { !$0.isEmpty }
        #expect(pieces.count == 3)
        #expect(pieces.joined().split(separator: " ") == ["one", "two", "three"])
    }

    private func request(_ model: String, _ text: String, streams: Bool) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: self.url + "/v1/chat/completions")
        request.method = .POST
        request.headers.add(name: "content-type", value: "application/json")
        request.body = .bytes(ByteBuffer(string: Self.chat(model, text, streams: streams)))
        return request
    }

    /// Leaves in the middle of an answer.
    func leave(_ model: String, streams: Bool) async throws {
        let request = self.request(model, Self.words, streams: streams)
        guard streams else {
            // The answer comes at its end, long after this.
            let limit = TimeAmount.milliseconds(700)
            await #expect(throws: HTTPClientError.deadlineExceeded) {
                try await HTTPClient.shared.execute(request, timeout: limit)
            }
            return
        }
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
        var body = response.body.makeAsyncIterator()
        // Letting go of the body closes the connection.
        let first = try #require(try await body.next())
        #expect(String(buffer: first).hasPrefix("data: "))
    }

    /// Asks two hundred times at once, every second time streamed.
    func checkMany(_ model: String) async throws {
        var configuration = HTTPClient.Configuration()
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 200
        try await HTTPClient.withHTTPClient(configuration: configuration) { client in
            try await withThrowingTaskGroup(of: (HTTPResponseStatus, String).self) { group in
                for number in 0..<200 {
                    let request = self.request(model, "zwölf 漢字 😀", streams: number % 2 == 0)
                    group.addTask {
                        let response = try await client.execute(request, timeout: .seconds(60))
                        return (response.status, String(buffer: try await response.body.collect(upTo: 1 << 20)))
                    }
                }
                for try await (status, text) in group {
                    #expect(status == .ok, "\(text)")
                    for word in ["zwölf", "漢字", "😀"] { #expect(text.contains(word), "\(text)") }
                }
            }
        }
    }

    /// Kills a worker in the middle of an answer: the client hears of it, and does not take what it has for the whole.
    func checkKill(_ model: String, _ worker: RunningProgram) async throws {
        let request = self.request(model, Self.words, streams: true)
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
        var body = response.body.makeAsyncIterator()
        var text = String(buffer: try #require(try await body.next()))
        worker.send(SIGKILL)
        let killed = ContinuousClock.now
        while let part = try await body.next() { text += String(buffer: part) }
        #expect(ContinuousClock.now - killed < .seconds(5))
        #expect(text.contains("error"), "\(text.suffix(1000))")
        #expect(!text.contains(#""finish_reason":"stop""#))
    }

    /// How many generations our worker saw cancelled.
    static func cancellations(systemPort: Int) async throws -> Int {
        let metrics = try await HTTPRequests.get("http://127.0.0.1:\(systemPort)/metrics").text
        let line = metrics.split(separator: "\n").first { $0.hasPrefix("dynamo_component_cancellation_total{") }
        return line?.split(separator: " ").last.flatMap { Int($0) } ?? 0
    }
}
