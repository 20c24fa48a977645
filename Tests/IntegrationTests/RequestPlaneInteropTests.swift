import Foundation
import Logging
import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// Our client and server against Dynamo's own, over the planes that both speak, found through Dynamo's discovery directory.
@Suite(.serialized) struct RequestPlaneInteropTests {
    static let scripts = TestEnvironment.root.appending(path: "Tests/Fixtures/Dynamo")

    func environment(_ peer: InteropPeer, _ folder: URL, nats: String? = nil) -> [String: String?] {
        [
            "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": folder.path, "DYN_EVENT_PLANE": "zmq",
            "DYN_REQUEST_PLANE": peer.mode.rawValue,
            "DYN_TCP_RPC_HOST": "127.0.0.1", "DYN_HTTP_RPC_HOST": "127.0.0.1", "DYN_HTTP_RPC_PORT": nil,
            "NATS_SERVER": nats, "DYN_LOG": "error",
        ]
    }

    func withManager<Value: Sendable>(
        _ peer: InteropPeer,
        security: TransportSecurity = TransportSecurity(),
        nats: String? = nil,
        _ body: (NetworkManager) async throws -> Value
    ) async throws -> Value {
        var configuration = NetworkManager.Configuration()
        configuration.mode = peer.mode
        configuration.tcp.host = "127.0.0.1"
        // How long one of ten thousand waits for its turn is the machine's concern.
        configuration.tcp.requestTimeout = .seconds(60)
        configuration.http.host = "127.0.0.1"
        configuration.http.port = 0
        configuration.responseStream.host = "127.0.0.1"
        configuration.security = security
        if let nats { configuration.nats = try NATSSettings(server: nats) }
        let manager = NetworkManager(configuration: configuration, logger: Logger(label: "interop"))
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await manager.run() }
            let value = try await body(manager)
            group.cancelAll()
            return value
        }
    }

    // MARK: A real caller

    /// Writes the record of an instance, and keeps it fresh for as long as the body runs.
    func withRecord(
        _ peer: InteropPeer,
        _ instance: Instance,
        in folder: URL,
        _ body: () async throws -> Void
    ) async throws {
        let bucket = folder.appending(path: "v1/instances")
        try FileManager.default.createDirectory(at: bucket, withIntermediateDirectories: true)
        let parts = [instance.endpoint.namespace, instance.endpoint.component, instance.endpoint.name, instance.id.hex]
        let name = parts.joined(separator: "%2F")
        let record = """
            {"type":"Endpoint","component":"\(instance.endpoint.component)","endpoint":"\(instance.endpoint.name)",\
            "namespace":"\(instance.endpoint.namespace)","instance_id":\(instance.id.rawValue),\
            "transport":{"\(peer.recordKey)":"\(instance.transport.value)"},"device_type":"cuda"}
            """
        let file = bucket.appending(path: name)
        try record.write(to: bucket.appending(path: ".tmp_0123456789abcdef"), atomically: false, encoding: .utf8)
        try FileManager.default.moveItem(at: bucket.appending(path: ".tmp_0123456789abcdef"), to: file)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    try? await Task.sleep(for: .seconds(2))
                    try? FileManager.default.setAttributes([.modificationDate: Date()], ofItemAtPath: file.path)
                }
            }
            try await body()
            group.cancelAll()
        }
    }

    /// What the scripts' endpoint does, in Swift.
    static let handler: RequestHandler = { request in
        let object = try? JSONObject(request.payload)
        let count = object?["n"].flatMap { Int(String(buffer: $0)) } ?? 1
        let delay = object?["delay_ms"].flatMap { Int(String(buffer: $0)) } ?? 0
        let mode = object?.string("mode")
        if mode == "call_raise" { throw RemoteError(kind: .invalidArgument, message: "boom at call") }
        return AsyncThrowingStream { continuation in
            let task = Task {
                for number in 0..<count {
                    if delay > 0 { try? await Task.sleep(for: .milliseconds(delay)) }
                    if Task.isCancelled { return continuation.finish() }
                    var item = ByteBuffer(string: "{\"i\": \(number), \"req\": ")
                    item.writeImmutableBuffer(number == 0 ? request.payload : .jsonNull)
                    item.writeString("}")
                    continuation.yield(.data(item))
                }
                if mode == "raise_mid" {
                    continuation.finish(throwing: RemoteError(kind: .unknown, message: "boom in mid stream"))
                } else {
                    continuation.finish()
                }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    @Test(arguments: InteropPeer.all)
    func realCallerCallsOurServer(_ peer: InteropPeer) async throws {
        let python = try TestEnvironment.python(peer.release)
        let endpoint = EndpointID(namespace: "interop", component: "echo", name: "run")
        let commands = [
            #"{"request": {"n": 3}}"#, #"{"request": {"text": "zwölf 漢字 😀 \" \\ \n"}}"#, #"{"request": null}"#,
            #"{"request": {"n": 1000, "delay_ms": 5}, "stop_after": 2}"#,
            #"{"request": {"n": 1000, "delay_ms": 5}, "drop_after": 2}"#, #"{"request": {"n": 10}, "times": 200}"#,
            #"{"request": {"n": 2, "mode": "raise_mid"}}"#, #"{"request": {"n": 1}, "pad": \#(peer.bigSize)}"#,
            #"{"request": 1}"#, #"{"request": {"mode": "call_raise"}}"#,
        ]
        let arguments = [Self.scripts.appending(path: "call_endpoint.py").path, "\(endpoint)"] + commands
        try await withTemporaryDirectory { folder in
            try await peer.withBroker { nats in
                try await self.withManager(peer, nats: nats) { manager in
                    let id = InstanceID(rawValue: 0xf1d5_488c_8665_44b8)
                    let address = try await manager.server.register(endpoint, id: id, handler: Self.handler)
                    let instance = Instance(endpoint: endpoint, id: id, transport: address)
                    try await self.withRecord(peer, instance, in: folder) {
                        let environment = self.environment(peer, folder, nats: nats)
                        _ = try await withProgram(python, arguments, environment: environment) { program in
                            try await program.waitForOutput("boom at call")
                            let lines = program.output.split(separator: "\n").map(String.init).filter {
                                $0.hasPrefix("{\"items\"")
                            }
                            try #require(lines.count == commands.count, "\(program.output)")
                            self.checkAnswers(lines, bigSize: peer.bigSize)
                        }
                    }
                    try await eventually("no request is left") { manager.server.inFlight == 0 }
                    let statistics = try #require(manager.statistics.first)
                    #expect(statistics.requests == 199 + commands.count)
                    #expect(statistics.cancellations == 2, "one stopped, one dropped")
                    #expect(statistics.errors == 2)
                }
            }
        }
    }

    /// What a real caller got for the commands of the test above.
    private func checkAnswers(_ lines: [String], bigSize: Int) {
        let three = #"[{"i": 0, "req": {"n": 3}}, {"i": 1, "req": null}, {"i": 2, "req": null}]"#
        #expect(lines[0] == #"{"items": \#(three), "error": null}"#)
        #expect(lines[1].contains(#""zw\u00f6lf \u6f22\u5b57 \ud83d\ude00 \" \\ \n""#))
        #expect(lines[2] == #"{"items": [{"i": 0, "req": null}], "error": null}"#)
        #expect(lines[3].hasSuffix("\"error\": null}"))
        #expect(lines[4].hasSuffix("\"error\": null}"))
        #expect(lines[5] == #"{"items": [2000], "error": null}"#)
        #expect(lines[6].contains(#"{"i": 1, "req": null}], "error": ""#) && lines[6].contains("boom in mid stream"))
        let size = bigSize + #"[{"i": 0, "req": {"n": 1, "pad": ""}}]"#.utf8.count
        #expect(lines[7] == #"{"items": [\#(size)], "error": null}"#)
        #expect(lines[8] == #"{"items": [{"i": 0, "req": 1}], "error": null}"#)
        #expect(lines[9].hasPrefix(#"{"items": [], "error": ""#))
    }

    // MARK: A real worker

    /// Reads the address that a worker has published.
    func instance(
        _ peer: InteropPeer,
        of endpoint: EndpointID,
        in folder: URL
    ) async throws -> Instance {
        let bucket = folder.appending(path: "v1/instances")
        let prefix = "\(endpoint.namespace)%2F\(endpoint.component)%2F\(endpoint.name)%2F"
        var found: Instance?
        try await eventually(within: .seconds(30), "the worker has published its record") {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: bucket.path)) ?? []
            guard let name = names.first(where: { $0.hasPrefix(prefix) }) else { return false }
            let text = try String(contentsOf: bucket.appending(path: name), encoding: .utf8)
            let record = try JSONObject(ByteBuffer(string: text))
            let address = try #require(record.object("transport")?.string(peer.recordKey))
            let id = try #require(record["instance_id"].flatMap { UInt64(String(buffer: $0)) })
            found = Instance(endpoint: endpoint, id: InstanceID(rawValue: id), transport: peer.address(address))
            return true
        }
        return try #require(found)
    }

    func collect(_ stream: ResponseStream) async throws -> [String] {
        var texts: [String] = []
        for try await item in stream {
            switch item {
            case .data(let payload), .bare(let payload): texts.append(String(buffer: payload))
            case .annotation(let event, _): texts.append("annotation:\(event)")
            case .failure(let error): texts.append("failure:\(error)")
            }
        }
        return texts
    }

    @Test(arguments: InteropPeer.all)
    func ourCallerCallsARealWorker(_ peer: InteropPeer) async throws {
        let python = try TestEnvironment.python(peer.release)
        let endpoint = EndpointID(namespace: "interop", component: "echo", name: "run")
        let arguments = [Self.scripts.appending(path: "serve_endpoint.py").path, "\(endpoint)"]
        try await withTemporaryDirectory { folder in
            try await peer.withBroker { nats in
                let environment = self.environment(peer, folder, nats: nats)
                _ = try await withProgram(python, arguments, environment: environment) { program in
                    let instance = try await self.instance(peer, of: endpoint, in: folder)
                    try await self.withManager(peer, nats: nats) { manager in
                        let caller = Caller(client: manager.client, instance: instance)
                        try await self.checkRequests(caller)
                        try await self.checkSizes(caller, peer)
                        try await self.checkCancellations(caller, program)

                        // An endpoint that the worker does not have.
                        var wrong = caller
                        wrong.instance.transport = peer.address(instance.transport.value + "x")
                        let unknown = await #expect(throws: RequestPlaneError.self) { try await wrong.send("1") }
                        #expect(unknown?.code == .unknownEndpoint)

                        try await self.checkKill(caller, program, peer)
                    }
                }
            }
        }
    }

    /// Our client, and whom it calls.
    private struct Caller: Sendable {
        let client: any RequestPlaneClient
        var instance: Instance

        func send(_ text: String, id: String = "r") async throws(RequestPlaneError) -> ResponseStream {
            try await self.client.send(OutgoingRequest(id: id, payload: ByteBuffer(string: text)), to: self.instance)
        }
    }

    private func checkRequests(_ caller: Caller) async throws {
        #expect(
            try await self.collect(caller.send(#"{"n":3}"#)) == [
                #"{"i":0,"req":{"n":3}}"#, #"{"i":1,"req":null}"#, #"{"i":2,"req":null}"#,
            ]
        )
        #expect(
            try await self.collect(caller.send(#"{"t":"zwölf 漢字 😀"}"#)) == [#"{"i":0,"req":{"t":"zwölf 漢字 😀"}}"#]
        )
        let failed = try await self.collect(caller.send(#"{"n":1,"mode":"raise_mid"}"#))
        #expect(failed.count == 2 && failed[1].contains("boom in mid stream"))
        let refusal = await #expect(throws: RequestPlaneError.self) { try await caller.send(#"{"mode":"call_raise"}"#) }
        #expect(refusal?.code == .remote && refusal?.message.contains("boom at call") == true)

        // Two hundred at once.
        try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<200 {
                group.addTask { try await self.collect(caller.send(#"{"n":10}"#, id: "r\(number)")).count }
            }
            for try await count in group { #expect(count == 10) }
        }
    }

    private func checkSizes(_ caller: Caller, _ peer: InteropPeer) async throws {
        #expect(try await self.collect(caller.send("1")) == [#"{"i":0,"req":1}"#])
        let big = #"{"n":1,"t":""# + String(repeating: "x", count: peer.bigSize) + "\"}"
        let answer = try await self.collect(caller.send(big))
        #expect(answer.first?.utf8.count == big.utf8.count + #"{"i":0,"req":}"#.utf8.count)

        // What the server would refuse is not sent.
        guard let size = peer.tooLargeSize else { return }
        let tooLarge = await #expect(throws: RequestPlaneError.self) {
            try await caller.send(String(repeating: "1", count: size))
        }
        #expect(tooLarge?.code == .tooLarge)
        #expect(tooLarge?.message.contains("DYN_REQUEST_PLANE=tcp") == true)
    }

    /// Graceful and abrupt ends are seen by the worker.
    private func checkCancellations(_ caller: Caller, _ program: RunningProgram) async throws {
        let stopped = try await caller.send(#"{"n":10000,"delay_ms":5}"#)
        var count = 0
        for try await _ in stopped {
            count += 1
            if count == 2 { stopped.stop() }
        }
        try await program.waitForOutput("stopped")
        do {
            let dropped = try await caller.send(#"{"n":10000,"delay_ms":5}"#)
            for try await _ in dropped { break }
        }
        try await program.waitForOutput("killed")
    }

    /// The worker is killed in mid-stream, and is not there for the next request.
    private func checkKill(_ caller: Caller, _ program: RunningProgram, _ peer: InteropPeer) async throws {
        let lost = try await caller.send(#"{"n":10000,"delay_ms":5}"#)
        var iterator = lost.makeAsyncIterator()
        _ = try await iterator.next()
        program.send(SIGKILL)
        let early = await #expect(throws: RequestPlaneError.self) {
            while try await iterator.next() != nil {}
        }
        #expect(early?.code == .streamEndedEarly)
        // A NATS server knows of nobody behind the subject, but may hear of the worker's end after us, and then hands it one more
        // request, which nobody answers. The others have nobody to connect to.
        let expected = peer.mode == .nats ? RequestPlaneError.Code.unknownEndpoint : .connectFailed
        try await eventually(within: .seconds(40), "the worker is known to be gone") {
            let gone = await #expect(throws: RequestPlaneError.self) { try await caller.send("{}") }
            if peer.mode == .nats, gone?.code == .timedOut { return false }
            #expect(gone?.code == expected)
            return true
        }
    }
}
