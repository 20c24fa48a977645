import Glibc
import NATS
import NIOCore
import TestSupport
import Testing

@Suite struct RequestTests {
    @Test func `a reply with headers and bytes of every value`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { connection in
                let seen = Recorder<NATSMessage>()
                _ = try await connection.answer("svc.>") { message in
                    seen.append(message)
                    return message
                }
                var headers: NATSHeaders = ["traceparent": "00-1", "unicode": "é 漢"]
                headers.add("traceparent", "00-2")
                let payload = ByteBuffer(bytes: (0...255).map { UInt8($0) })
                let reply = try await connection.request("svc.a", headers: headers, payload: payload)
                #expect(reply.payload == payload)
                #expect(Set(reply.headers.fields) == Set(headers.fields))
                #expect(reply.headers.values("traceparent") == ["00-1", "00-2"])
                #expect(seen.values.first?.subject == "svc.a")

                let empty = try await connection.request("svc.b")
                #expect(empty.payload.readableBytes == 0 && empty.headers.isEmpty)
                #expect(connection.statistics.pendingRequests == 0)
                try await eventually("everything is counted") {
                    let traffic = connection.statistics.traffic
                    // Both requests and both replies, each sent and received here.
                    return traffic.messagesIn == 4 && traffic.messagesOut == 4 && traffic.bytesIn == traffic.bytesOut
                }
            }
        }
    }

    @Test func `no responders are known at once`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { connection in
                let start = ContinuousClock.now
                let error = await thrown { () throws(NATSError) in
                    try await connection.request("nobody.here", timeout: .seconds(30))
                }
                #expect(error?.code == .noResponders)
                #expect(error?.message.contains("nobody.here") == true)
                #expect(ContinuousClock.now - start < .seconds(2))
            }
        }
    }

    @Test func `no reply is a timeout, and a late reply is ignored`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { connection in
                let replies = Recorder<String>()
                _ = try await connection.subscribe("slow") { message in
                    if let reply = message.reply { replies.append(reply) }
                    return .more
                }
                let error = await thrown { () throws(NATSError) in
                    try await connection.request("slow", timeout: .milliseconds(100))
                }
                #expect(error?.code == .timedOut)
                #expect(error?.message.contains("slow") == true)
                let reply = try #require(replies.values.first)
                try connection.publish(reply)
                try await connection.flush()
                #expect(connection.statistics.pendingRequests == 0)
                _ = try await connection.answer("quick") { $0 }
                _ = try await connection.request("quick")
            }
        }
    }

    @Test func `cancelling a task ends its request`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { connection in
                let arrived = Recorder<Void>()
                _ = try await connection.subscribe("slow") { _ in
                    arrived.append(())
                    return .more
                }
                let task = Task { await thrown { () throws(NATSError) in try await connection.request("slow") } }
                try await eventually("the request arrives") { !arrived.values.isEmpty }
                task.cancel()
                #expect(await task.value?.code == .cancelled)
                #expect(connection.statistics.pendingRequests == 0)

                let calls = Recorder<Void>()
                let request = connection.startRequest("slow", timeout: .seconds(10)) { _ in calls.append(()) }
                #expect(request?.cancel() == true)
                #expect(request?.cancel() == false)
                await connection.close()
                #expect(calls.values.isEmpty)
            }
        }
    }

    @Test func `ten thousand at once`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { worker in
                _ = try await worker.answer("svc", queueGroup: "q") { $0 }
                try await server.connected { caller in
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for index in 0..<10_000 {
                            group.addTask {
                                let payload = ByteBuffer(string: "request \(index)")
                                let reply = try await caller.request("svc", payload: payload, timeout: .seconds(30))
                                try #require(reply.payload == payload)
                            }
                        }
                        try await group.waitForAll()
                    }
                    #expect(caller.statistics.pendingRequests == 0)
                    #expect(caller.statistics.queuedBytes == 0)
                }
            }
        }
    }

    @Test func `larger than the server takes is refused before sending`() async throws {
        try await NATSServerFixture.run(configuration: "max_payload: 4096") { server in
            try await server.connected { connection in
                _ = try await connection.answer("svc") { NATSMessage(subject: $0.subject) }
                let most = ByteBuffer(repeating: 1, count: 4096)
                _ = try await connection.request("svc", payload: most)
                for (headers, size) in [(["a": "b"] as NATSHeaders, 4096), ([:], 4097)] {
                    let error = await thrown { () throws(NATSError) in
                        try await connection.request(
                            "svc",
                            headers: headers,
                            payload: ByteBuffer(repeating: 1, count: size)
                        )
                    }
                    #expect(error?.code == .payloadTooLarge)
                    #expect(error?.message.contains("TCP") == true)
                    #expect(error?.message.contains("max_payload 4096") == true)
                }
                // The connection has not suffered.
                _ = try await connection.request("svc", payload: most)
                #expect(connection.statistics.reconnects == 0)
            }
        }
    }

    @Test func `fifteen megabytes to a server that allows it`() async throws {
        try await NATSServerFixture.run(configuration: "max_payload: 16MB") { server in
            try await server.connected { connection in
                _ = try await connection.answer("svc") { $0 }
                let payload = ByteBuffer(repeating: 7, count: 15_000_000)
                let reply = try await connection.request("svc", headers: ["a": "b"], payload: payload)
                #expect(reply.payload == payload)
            }
        }
    }

    @Test func `more than may wait is refused`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected({ $0.maximumQueuedBytes = 100_000 }) { connection in
                server.process.send(SIGSTOP)  // The server stops reading.
                defer { server.process.send(SIGCONT) }
                let payload = ByteBuffer(repeating: 1, count: 50_000)
                var refused: NATSError?
                for _ in 0..<10_000 where refused == nil {
                    refused = await thrown { () throws(NATSError) in try connection.publish("a", payload: payload) }
                }
                #expect(refused?.code == .overloaded)
                #expect(connection.statistics.queuedBytes <= 100_000)
            }
        }
    }
}
