import AsyncHTTPClient
import Discovery
import DynamoRuntime
import Foundation
import NIOCore
import NIOHTTP1
import RequestPlane
import Synchronization
import TestSupport
import Testing

@testable import dynamo_frontend

@Suite("The frontend over HTTP", .timeLimit(.minutes(1)))
struct FrontendServerTests {
    private static let chat = #"{"model":"m","messages":[{"role":"user","content":"x"}]}"#
    private static let streamed = #"{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}"#
    private static let path = "/v1/chat/completions"

    private func code(_ answer: HTTPReply) throws -> String? {
        (try answer.object()["error"] as? [String: Any])?["code"] as? String
    }

    @Test("before any worker: live, healthy, no models, unknown model")
    func empty() async throws {
        try await RunningFrontend.run(ScriptedClient { _ in [] }) { frontend in
            #expect(
                try await HTTPRequests.get(frontend.url + "/live").text
                    == #"{"status":"live","message":"Service is live"}"#
            )
            #expect(
                try await HTTPRequests.get(frontend.url + "/health").text
                    == #"{"status":"healthy","endpoints":[],"instances":[]}"#
            )
            #expect(try await HTTPRequests.get(frontend.url + "/v1/models").text == #"{"object":"list","data":[]}"#)
            let unknown = try await HTTPRequests.post(frontend.url + Self.path, json: Self.chat)
            #expect((unknown.status, try self.code(unknown)) == (404, "model_not_found"))
            #expect(try await HTTPRequests.get(frontend.url + "/v1/models/m/ready").status == 404)
            let nowhere = try await HTTPRequests.get(frontend.url + "/nope")
            #expect((nowhere.status, try self.code(nowhere)) == (404, "route_not_found"))
            #expect(try await HTTPRequests.get(frontend.url + Self.path).status == 405)
            #expect(try await HTTPRequests.post(frontend.url + "/health", json: "{}").status == 405)
        }
    }

    @Test("with a worker: listed, ready, healthy; without its instance: 503")
    func models() async throws {
        try await RunningFrontend.run(ScriptedClient { _ in [] }) { frontend in
            let worker = FrontendFixture.worker(1, model: "/models/m 1")
            try await frontend.publish([worker])
            for name in ["%2Fmodels%2Fm%201", "/models/m%201"] {
                #expect(try await HTTPRequests.get(frontend.url + "/v1/models/" + name).status == 200)
                let ready = try await HTTPRequests.get(frontend.url + "/v1/models/" + name + "/ready")
                #expect(ready.status == 200)
                #expect(ready.text.hasPrefix(#"{"model":"/models/m 1","ready":true,"namespaces":{"n":{"ready":true,"#))
            }
            let health = try await HTTPRequests.get(frontend.url + "/health").text
            #expect(
                health.contains(
                    #""endpoints":["dyn://n.backend.generate"],"instances":[{"component":"backend","endpoint":"generate""#
                )
            )
            frontend.worker.withdraw()
            frontend.worker.publish([.model(FrontendFixture.worker(1).model)])
            try await eventually("no instance is alive") {
                let answer = try await HTTPRequests.post(frontend.url + Self.path, json: Self.chat)
                return try answer.status == 503 && self.code(answer) == "model_not_ready"
            }
            #expect(try await HTTPRequests.get(frontend.url + "/v1/models/m/ready").status == 503)
        }
    }

    @Test("workers that process prompts for the others are counted by themselves")
    func prefillWorkers() async throws {
        try await RunningFrontend.run(ScriptedClient { _ in [] }) { frontend in
            let prefills = [2, 3].map { FrontendFixture.worker($0, component: "prefill", kind: .prefill) }
            try await frontend.publish([FrontendFixture.worker(1)] + prefills)
            try await eventually("all are known") {
                let ready = try await HTTPRequests.get(frontend.url + "/v1/models/m/ready").text
                return ready.contains(
                    #""worker_types":{"decode":{"workers":1,"needs":[]},"prefill":{"workers":2,"needs":[]}}"#
                )
            }
        }
    }

    @Test("chunks are streamed as they are, folded when the client does not stream")
    func answers() async throws {
        let client = ScriptedClient { _ in [.chunk("a"), .item(.annotation(event: "e", comments: ["c"])), .chunk("b")] }
        try await RunningFrontend.run(client) { frontend in
            try await frontend.publish([FrontendFixture.worker(1)])
            let stream = try await HTTPRequests.post(frontend.url + Self.path, json: Self.streamed)
            let chunk: (String) -> String = {
                #"data: {"id":"i","model":"m","choices":[{"index":0,"delta":{"content":"\#($0)"}}]}"# + "\n\n"
            }
            #expect(stream.text == chunk("a") + "event: e\n: c\n\n" + chunk("b") + "data: [DONE]\n\n")
            let whole = try await HTTPRequests.post(frontend.url + Self.path, json: Self.chat)
            #expect(whole.status == 200)
            #expect(whole.text.contains(#""message":{"role":"assistant","content":"ab"}"#))
            #expect(client.sent.withLock { $0.map(\.payload) } == [Self.streamed, Self.chat])
            let metrics = try await HTTPRequests.get(frontend.url + "/metrics").text
            #expect(
                metrics.contains(
                    #"dynamo_frontend_requests_total{endpoint="chat_completions",error_type="",model="m",request_type="stream",status="success"} 1"#
                )
            )
            #expect(metrics.contains(#"dynamo_frontend_inflight_requests{model="m"} 0"#))
        }
    }

    @Test("errors before the first chunk are statuses, later ones are events")
    func errors() async throws {
        let client = ScriptedClient { instance in
            switch instance.id.rawValue {
            case 1: [.item(.failure(RemoteError(kind: .unknown, message: "boom")))]
            case 2: [.item(.failure(RemoteError(kind: .invalidArgument, message: "bad")))]
            case 3: [.chunk("a"), .error(RequestPlaneError(.streamEndedEarly, "gone"))]
            case 4: [.error(RequestPlaneError(.streamEndedEarly, "gone"))]
            case 5: [.chunk("a"), .item(.failure(RemoteError(kind: .unknown, message: "boom")))]
            default: [.item(.data(ByteBuffer(string: "{")))]
            }
        }
        try await RunningFrontend.run(client) { frontend in
            try await frontend.publish(
                (1...6).map { FrontendFixture.worker(UInt64($0), model: "m\($0)", component: "c\($0)") }
            )
            func status(_ worker: Int, streams: Bool) async throws -> HTTPReply {
                let json = (streams ? Self.streamed : Self.chat).replacing("\"m\"", with: "\"m\(worker)\"")
                return try await HTTPRequests.post(frontend.url + Self.path, json: json)
            }
            for streams in [true, false] {
                #expect(try await status(1, streams: streams).status == 500)
                #expect(try await status(2, streams: streams).status == 400)
                #expect(try await status(4, streams: streams).status == 502)
            }
            #expect(try await status(3, streams: false).status == 502)
            #expect(try await status(5, streams: false).status == 500)
            #expect(try await status(6, streams: false).status == 502)
            let broken = try await status(3, streams: true)
            #expect(broken.status == 200)
            #expect(
                broken.text.contains(#"data: {"error":{"message":"gone (streamEndedEarly)","type":"server_error","#)
            )
            #expect(broken.text.hasSuffix("data: [DONE]\n\n"))
            #expect(try await status(5, streams: true).text.contains(#"data: {"error":{"message":"boom","#))
        }
    }

    @Test("workers that do not take the request are passed over")
    func retry() async throws {
        let client = ScriptedClient { instance throws(RequestPlaneError) in
            switch instance.id.rawValue {
            case 1, 11, 12, 13: throw RequestPlaneError(.connectFailed, "nobody there")
            case 3, 4, 5: throw RequestPlaneError(.overloaded, "full")
            default: [.chunk("a")]
            }
        }
        try await RunningFrontend.run(client) { frontend in
            try await frontend.publish([FrontendFixture.worker(1), FrontendFixture.worker(2)])
            for _ in 0..<4 {
                #expect(try await HTTPRequests.post(frontend.url + Self.path, json: Self.chat).status == 200)
            }
            #expect(client.sent.withLock { $0.map(\.instance) } == [1, 2, 2, 2, 2])
            frontend.worker.withdraw()
            try await frontend.publish([3, 4, 5].map { FrontendFixture.worker($0, model: "full") })
            let json = Self.chat.replacing("\"m\"", with: "\"full\"")
            let before = client.sent.withLock { $0.count }
            let refused = try await HTTPRequests.post(frontend.url + Self.path, json: json)
            #expect((refused.status, try self.code(refused)) == (503, "overloaded"))
            #expect(client.sent.withLock { $0.count } == before + 2)
            frontend.worker.withdraw()
            // Killed one after the other, their records are still there.
            try await frontend.publish([11, 12, 13, 14].map { FrontendFixture.worker($0, model: "dying") })
            let dying = Self.chat.replacing("\"m\"", with: "\"dying\"")
            for _ in 0..<4 {
                #expect(try await HTTPRequests.post(frontend.url + Self.path, json: dying).status == 200)
            }
        }
    }

    @Test("who does not take a request may have a successor by then")
    func successor() async throws {
        let client = ScriptedClient { instance throws(RequestPlaneError) in
            guard instance.id.rawValue == 2 else { throw RequestPlaneError(.unavailable, "it has left") }
            return [.chunk("a")]
        }
        try await RunningFrontend.run(client) { frontend in
            try await frontend.publish([FrontendFixture.worker(1)])
            client.onTheWay.withLock {
                $0 = { instance in
                    guard instance.id.rawValue == 1 else { return }
                    do { try await frontend.replace(with: FrontendFixture.worker(2)) } catch { Issue.record(error) }
                }
            }
            #expect(try await HTTPRequests.post(frontend.url + Self.path, json: Self.chat).status == 200)
            #expect(client.sent.withLock { $0.map(\.instance) } == [1, 2])
        }
    }

    @Test("requests that cannot be read", arguments: [("{", 400), ("{}", 400)])
    func bad(json: String, status: Int) async throws {
        try await RunningFrontend.run(ScriptedClient { _ in [] }) { frontend in
            let answer = try await HTTPRequests.post(frontend.url + Self.path, json: json)
            #expect(answer.status == status)
            #expect(try answer.object()["error"] != nil)
        }
    }

    @Test("a body that is too large is 413, another type 415, and the server goes on")
    func limits() async throws {
        try await RunningFrontend.run(ScriptedClient { _ in [] }, bodyLimit: 1000) { frontend in
            let large = #"{"model":""# + String(repeating: "x", count: 5000) + #""}"#
            let answer = try await HTTPRequests.post(frontend.url + Self.path, json: large)
            #expect(answer.status == 413)
            var request = HTTPClientRequest(url: frontend.url + Self.path)
            request.method = .POST
            request.headers.add(name: "content-type", value: "text/plain")
            request.body = .bytes(ByteBuffer(string: Self.chat))
            let refused = try await HTTPClient.shared.execute(request, timeout: .seconds(5))
            #expect(refused.status.code == 415)
            let live = try await HTTPRequests.get(frontend.url + "/live")
            #expect(live.status == 200)
        }
    }

    @Test("a client that leaves cancels the generation", arguments: [Self.streamed, Self.chat])
    func disconnect(json: String) async throws {
        let client = ScriptedClient { _ in [.chunk("a"), .silence] }
        try await RunningFrontend.run(client) { frontend in
            try await frontend.publish([FrontendFixture.worker(1)])
            let url = frontend.url
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try await HTTPRequests.post(url + Self.path, json: json) }
                try await eventually("the request has arrived") { client.sent.withLock { $0.count } == 1 }
                group.cancelAll()
                while let result = await group.nextResult() { _ = result }
            }
            try await eventually("the generation is cancelled") { client.cancelled.withLock { $0 } == 1 }
            try await eventually("it is counted") {
                frontend.metrics.text.contains(#"error_type="cancelled",model="m""#)
            }
        }
    }

    @Test("asked to stop: 503 for probes and new requests while a stream goes on, then the end")
    func drain() async throws {
        let client = ScriptedClient { _ in [.chunk("a"), .silence] }
        try await RunningFrontend.run(client) { frontend in
            try await frontend.publish([FrontendFixture.worker(1)])
            let url = frontend.url
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try? await HTTPRequests.post(url + Self.path, json: Self.streamed) }
                try await eventually("the request has arrived") { client.sent.withLock { $0.count } == 1 }
                await frontend.stop()
                try await eventually("the probe says so") { try await HTTPRequests.get(url + "/health").status == 503 }
                let refused = try await HTTPRequests.post(url + Self.path, json: Self.chat)
                #expect((refused.status, try self.code(refused)) == (503, "shutting_down"))
                #expect(client.cancelled.withLock { $0 } == 0)
                try await eventually("the time limit ends the stream") { client.cancelled.withLock { $0 } == 1 }
                await #expect(throws: (any Error).self) { try await HTTPRequests.get(url + "/live", limit: 2) }
                group.cancelAll()
                while let result = await group.nextResult() { _ = result }
            }
        }
    }

    @Test("asked to stop: a client that reads slowly still gets its whole answer")
    func drainOfASlowReader() async throws {
        // More than the system holds for a connection, so that most of it waits in the frontend.
        let model = String(repeating: "m", count: 8 << 20)
        try await RunningFrontend.run(ScriptedClient { _ in [] }, drainTimeout: .seconds(30)) { frontend in
            try await frontend.publish([FrontendFixture.worker(1, model: model)])
            let client = try SlowReader(port: frontend.port)
            client.send("GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
            var received: [UInt8] = []
            try await eventually("the answer has begun") {
                received += try client.read() ?? []
                return !received.isEmpty
            }
            await frontend.stop()
            try await eventually("the end") {
                guard let bytes = try client.read() else { return true }
                received += bytes
                return false
            }
            #expect(received.count > model.utf8.count)
            #expect(received.suffix(2).elementsEqual("]}".utf8))
            try await eventually("the frontend ends") { frontend.hasEnded }
        }
    }

    @Test("asked to stop: a client that reads nothing does not keep the frontend")
    func drainOfAStalledReader() async throws {
        let model = String(repeating: "m", count: 8 << 20)
        try await RunningFrontend.run(ScriptedClient { _ in [] }, drainTimeout: .milliseconds(500)) { frontend in
            try await frontend.publish([FrontendFixture.worker(1, model: model)])
            let client = try SlowReader(port: frontend.port)
            client.send("GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
            try await eventually("the answer has begun") { try client.read()?.isEmpty == false }
            await frontend.stop()
            try await eventually("the frontend ends") { frontend.hasEnded }
        }
    }
}
