import Foundation
import Logging
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import NATS

@Suite struct CloseTests {
    @Test func `closing fails the requests that wait, and everything after`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { connection in
                let ends = Recorder<NATSError?>()
                let arrived = Recorder<Void>()
                let events = connection.events()
                let subscription = try await connection.subscribe("slow", ended: { ends.append($0) }) { _ in
                    arrived.append(())
                    return .more
                }
                try await connection.flush()
                let task = Task { await thrown { () throws(NATSError) in try await connection.request("slow") } }
                try await eventually("the request arrives") { !arrived.values.isEmpty }
                await connection.close()
                #expect(await task.value?.code == .closed)
                #expect(ends.values == [nil])
                #expect(subscription.isEnded)
                var all: [NATSConnectionEvent] = []
                for await event in events { all.append(event) }
                #expect(all == [.closed])

                await connection.close()
                await connection.run()
                #expect(connection.statistics.phase == .closed)
                #expect(throws: NATSError.self) { try connection.publish("a") }
                for error in [
                    await thrown({ () throws(NATSError) in try await connection.request("a") }),
                    await thrown({ () throws(NATSError) in try await connection.flush() }),
                    await thrown({ () throws(NATSError) in try await connection.subscribe("a") { _ in .more } }),
                ] { #expect(error?.code == .closed) }
                try await subscription.drain()
                try await connection.drain()
            }
        }
    }

    @Test func `what was published before closing arrives`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { receiver in
                let texts = Recorder<String>()
                _ = try await receiver.record("a", into: texts)
                try await server.connected { sender in
                    for index in 0..<100 { try sender.publish("a", payload: ByteBuffer(string: "\(index)")) }
                }
                try await eventually("all arrive") { texts.values.count == 100 }
            }
        }
    }

    @Test func `draining finishes requests, refuses new ones and closes`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { worker in
                try await server.connected { caller in
                    let waiting = Recorder<String>()
                    _ = try await worker.subscribe("svc") { message in
                        if let reply = message.reply { waiting.append(reply) }
                        return .more
                    }
                    try await worker.flush()
                    let answer = Task { try await caller.request("svc") }
                    try await eventually("the request arrives") { !waiting.values.isEmpty }
                    let draining = Task { try await caller.drain(timeout: .seconds(10)) }
                    try await eventually("new requests are refused") {
                        await thrown { () throws(NATSError) in
                            try await caller.request("svc", timeout: .milliseconds(1))
                        }?.code == .draining
                    }
                    try worker.publish(try #require(waiting.values.first), payload: ByteBuffer(string: "done"))
                    #expect(String(buffer: try await answer.value.payload) == "done")
                    try await draining.value
                    #expect(caller.statistics.phase == .closed)
                }
            }
        }
    }

    @Test func `a drain ends at its limit`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { connection in
                let arrived = Recorder<String>()
                _ = try await connection.subscribe("svc") { message in
                    arrived.append(message.subject)
                    return .more
                }
                let request = Task { await thrown { () throws(NATSError) in try await connection.request("svc") } }
                // Before that the drain could overtake it, and nobody would be there to get it.
                try await eventually("the request has arrived") { arrived.values == ["svc"] }
                let error = await thrown { () throws(NATSError) in
                    try await connection.drain(timeout: .milliseconds(300))
                }
                #expect(error?.code == .timedOut)
                #expect(await request.value?.code == .closed)
            }
        }
    }

    @Test func `an observer that is cancelled while it is told something blocks nobody`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { connection in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        for round in 0..<100_000 {
                            connection.core.state.withLock { $0.emit(.slowConsumer(subject: "a", dropped: round)) }
                            try Task.checkCancellation()
                        }
                    }
                    group.addTask {
                        while !Task.isCancelled {
                            let observer = Task { for await _ in connection.events() { await Task.yield() } }
                            await Task.yield()
                            observer.cancel()
                            await observer.value
                        }
                    }
                    try await group.next()
                    group.cancelAll()
                }
                connection.core.state.withLock { state in
                    state.emit(.slowConsumer(subject: "a", dropped: 1))
                    #expect(state.observers.isEmpty)
                }
            }
        }
    }

    @Test func `a cancelled run closes`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { connection in
                let task = Task { await connection.run() }
                task.cancel()
                await task.value
                #expect(connection.statistics.phase == .closed)
            }
        }
    }

    @Test func `closing while the server is gone`() async throws {
        let connection = try await NATSServerFixture.run { server in
            try await NATSConnection.connect(server.configuration(), logger: Logger(label: "test"))
        }
        try await eventually("the loss is noticed") { connection.statistics.phase == .reconnecting }
        try connection.publish("a")
        let error = await thrown { () throws(NATSError) in try await connection.drain(timeout: .milliseconds(200)) }
        #expect(error != nil, "the message was not sent")
    }

    @Test func `many connections come and go without leaving anything behind`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { try await $0.flush() }
            let before = Resources.now
            for round in 0..<15 {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<10 {
                        group.addTask {
                            let connection = try await NATSConnection.connect(
                                server.configuration(),
                                logger: Logger(label: "test")
                            )
                            _ = try await connection.answer("svc.\(round).\(index)") { $0 }
                            for _ in 0..<5 {
                                connection.startRequest("svc.\(round).\(index)", timeout: .seconds(5)) { _ in }
                            }
                            switch index % 4 {
                            case 0: await connection.close()
                            case 1: try await connection.drain()
                            case 2: _ = try await connection.request("svc.\(round).\(index)")
                            default: break
                            }
                            // The others end with their last reference.
                        }
                    }
                    try await group.waitForAll()
                }
            }
            try await eventually("everything is given back") {
                let after = Resources.now
                return NativeRegistry.shared.count == 0 && after.descriptors <= before.descriptors + 2
                    && after.threads <= before.threads + 4
            }
        }
    }
}

/// What this process holds.
private struct Resources {
    let descriptors: Int
    let threads: Int

    static var now: Resources {
        func count(_ folder: String) -> Int {
            (try? FileManager.default.contentsOfDirectory(atPath: folder).count) ?? 0
        }
        return Resources(descriptors: count("/proc/self/fd"), threads: count("/proc/self/task"))
    }
}
