import NIOCore
import RequestPlane
internal import Synchronization

// What arrives, and in which order.

extension ConformanceCheck {
    static var delivery: [ConformanceCheck] {
        [
            ConformanceCheck("items arrive in order") { pair in
                let instance = try await pair.serve { _ in Script { $0 < 5000 ? .number($0) : nil } }
                try requireEqual(try await pair.call(to: instance), (0..<5000).map(ResponseItem.number), "items")
            },
            ConformanceCheck("many streams do not mix", with: self.interleaving),
            ConformanceCheck("id, endpoint and headers arrive", with: self.headers),
            ConformanceCheck("an answer without items ends normally") { pair in
                let instance = try await pair.serve(answering { _ in [] })
                try requireEqual(try await pair.call(to: instance), [], "items")
            },
            ConformanceCheck("annotations arrive") { pair in
                let items: [ResponseItem] = [
                    .annotation(event: "note", comments: []), .number(1),
                    .annotation(event: "ключ \"\\\n", comments: ["a", "", "\u{1F680}", "\t\u{0}"]), .number(2),
                ]
                let instance = try await pair.serve(answering { _ in items })
                try requireEqual(try await pair.call(to: instance), items, "items")
            },
            ConformanceCheck("an item without a payload is null") { pair in
                let instance = try await pair.serve(answering { _ in [.data(ByteBuffer()), .number(1)] })
                try requireEqual(try await pair.call(to: instance), [.text("null"), .number(1)], "items")
            },
            ConformanceCheck("a request without a payload is refused") { pair in
                let instance = try await pair.serve(answering { _ in [.number(1)] })
                let error = try await requireError(.remote, from: "a request without a payload") {
                    _ = try await pair.call("", to: instance)
                }
                try require(error.message.contains("no body"), "the refusal does not say why: \(error)")
                try requireEqual(try await pair.call(to: instance), [.number(1)], "items of the next request")
            },
            ConformanceCheck("failures within the stream arrive") { pair in
                let items = RemoteError.Kind.allCases.map { kind in
                    ResponseItem.failure(RemoteError(kind: kind, message: "\(kind) \"quoted\" \u{1F4A5}"))
                }
                let instance = try await pair.serve(
                    answering { request in [.number(1), items[Int(String(buffer: request.payload)) ?? 0]] }
                )
                for (index, failure) in items.enumerated() {
                    let answer = try await pair.call(String(index), to: instance)
                    try requireEqual(answer, [.number(1), failure], "items")
                }
            },
            ConformanceCheck("a handler that throws before its stream refuses") { pair in
                let instance = try await pair.serve { _ in
                    throw RemoteError(kind: .invalidArgument, message: "n is missing \u{1F4A5}")
                }
                let error = try await requireError(.remote, from: "a refused request") {
                    _ = try await pair.send(to: instance)
                }
                try require(error.message.contains("n is missing \u{1F4A5}"), "the message is lost: \(error)")
                try await pair.serverIsIdle()
                try requireEqual(pair.statistics.map(\.errors), [1], "counted errors")
            },
            ConformanceCheck("a handler that throws within its stream ends it with a failure") { pair in
                let failure = RemoteError(kind: .resourceExhausted, message: "no memory")
                let instance = try await pair.serve { _ in
                    Script { index in if index < 2 { .number(index) } else { throw failure } }
                }
                let answer = try await pair.call(to: instance)
                try requireEqual(answer, [.number(0), .number(1), .failure(failure)], "items")
                try await pair.serverIsIdle()
                try requireEqual(pair.statistics.map(\.errors), [1], "counted errors")
            },
        ] + self.payloads
    }

    /// Requests and items of many sizes, echoed.
    private static var payloads: [ConformanceCheck] {
        [
            ("1 byte", ByteBuffer(string: "1")),
            ("unicode", ByteBuffer(string: "{\"\u{1F680}\":\"Zażółć \u{4F60}\u{597D} \\u0000\\ud83d\\ude80 \u{7F}\"}")),
            ("white space", ByteBuffer(string: "[ 1 ,\t2\r\n]")),
            ("64 KiB", Self.string(64 * 1024)),
            ("1 MB", Self.string(1_000_000)),
        ].map { name, payload in
            ConformanceCheck("a payload of \(name) is echoed") { pair in
                let instance = try await pair.serve(answering { [.data($0.payload), .number(1), .data($0.payload)] })
                let request = OutgoingRequest(id: "echo", payload: payload)
                let answer = try await pair.client.send(request, to: instance).all()
                try require(answer == [.data(payload), .number(1), .data(payload)], "the echo of \(name) differs")
            }
        } + [
            ConformanceCheck("an item of 8 MB arrives") { pair in
                let big = Self.string(8_000_000)
                let instance = try await pair.serve(answering { _ in [.data(big), .number(1)] })
                try require(try await pair.call(to: instance) == [.data(big), .number(1)], "the item differs")
            }
        ]
    }

    private static func string(_ size: Int) -> ByteBuffer {
        var buffer = ByteBuffer(string: "\"")
        buffer.writeRepeatingByte(UInt8(ascii: "x"), count: size - 2)
        buffer.writeString("\"")
        return buffer
    }

    @Sendable private static func interleaving(_ pair: ConformancePair) async throws {
        // Every stream waits for all others at each item, so that none can end before the last has begun.
        let (streams, items) = (32, 8)
        let rounds = (0..<items).map { _ in (latch: Latch(), arrived: Counter()) }
        let instance = try await pair.serve { request in
            Script { index in
                guard index < items else { return nil }
                if rounds[index].arrived.add() == streams { rounds[index].latch.open() }
                try await rounds[index].latch.wait()
                return .text("\"\(request.id) \(index)\"")
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<streams {
                group.addTask {
                    let answer = try await pair.call(to: instance, id: "r\(number)")
                    try requireEqual(answer, (0..<items).map { .text("\"r\(number) \($0)\"") }, "items of r\(number)")
                }
            }
            try await group.waitForAll()
        }
    }

    @Sendable private static func headers(_ pair: ConformancePair) async throws {
        let sent = ["traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x-a": "b c; d=\"e\""]
        let seen = Recorded<IncomingRequest?>(nil)
        let instance = try await pair.serve(
            answering { request in
                seen.value = request
                return []
            }
        )
        let id = "id with \"quotes\" and a space"
        let request = OutgoingRequest(id: id, headers: sent, payload: ByteBuffer(string: "[1]"))
        _ = try await pair.client.send(request, to: instance).all()
        try requireEqual(seen.value?.id, id, "id")
        try requireEqual(seen.value?.endpoint, instance.endpoint, "endpoint")
        try requireEqual(seen.value?.payload, ByteBuffer(string: "[1]"), "payload")
        for (name, value) in sent { try requireEqual(seen.value?.headers[name], value, "header \(name)") }
    }
}

/// A shared counter.
final class Counter: Sendable {
    private let value = Atomic(0)

    /// Adds one and returns the result.
    @discardableResult
    func add() -> Int { self.value.add(1, ordering: .relaxed).newValue }

    var current: Int { self.value.load(ordering: .relaxed) }
}
