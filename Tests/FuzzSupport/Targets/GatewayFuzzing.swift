import Gateway
import NIOCore

// What a gateway reads from strangers, and from its backends.

extension FuzzTarget {
    /// Both directions of a gateway.
    ///
    /// - Returns: the targets, each for a run of its own.
    package static func gateway() -> [FuzzTarget] {
        [
            FuzzTarget("gateway requests", seeds: GatewayFuzzing.requestSeeds, check: GatewayFuzzing.requests),
            FuzzTarget("gateway answers", seeds: GatewayFuzzing.answerSeeds, check: GatewayFuzzing.answers),
        ]
    }
}

enum GatewayFuzzing {
    static let requestSeeds: [[UInt8]] = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /v1/chat HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n"
            + "GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\nx: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nExpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ].map { Array($0.utf8) }

    static let answerSeeds: [[UInt8]] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n",
        "HTTP/1.0 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\n\r\nrest",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    ].map { Array($0.utf8) }

    /// What was read of an input, however it was cut.
    private struct Read: Equatable {
        var heads: [String] = []
        var body: [UInt8] = []
        var ends = 0
        /// With what it was refused.
        var status: Int?
    }

    static func requests(_ bytes: [UInt8], _ random: inout FuzzRandom) throws {
        let whole = try self.readRequests([ByteBuffer(bytes: bytes)], bytes)
        let cut = try self.readRequests(pieces(of: bytes, &random), bytes)
        // Of what is refused a part may have been passed on before, more or less of it.
        try hold(whole.status == cut.status, "whether it is refused depends on how the bytes are cut")
        try hold(whole.heads == cut.heads, "the heads depend on how the bytes are cut")
        try hold(whole.status != nil || whole == cut, "the requests depend on how the bytes are cut")
    }

    private static func readRequests(_ pieces: [ByteBuffer], _ bytes: [UInt8]) throws -> Read {
        var reader = RequestReader(headLimit: 512, targetLimit: 128, bodyLimit: 256)
        var read = Read()
        var fuel = FuzzFuel(bytes)
        for piece in pieces where read.status == nil {
            reader.append(piece)
            do {
                while let event = try reader.next() {
                    try fuel.burn()
                    switch event {
                    case .head(let head):
                        read.heads.append(head.text)
                        try hold(head.target.first == "/" || head.target == "*", "the target is no path")
                        try hold(
                            head.text.utf8.allSatisfy { $0 >= 32 || [9, 10, 13].contains($0) },
                            "control characters"
                        )
                    case .body(let bytes): read.body += Array(buffer: bytes)
                    case .end: read.ends += 1
                    }
                }
            } catch let refusal as Refusal {
                read.status = refusal.status
            }
        }
        let taken = read.heads.reduce(read.body.count) { $0 + $1.utf8.count }
        // Bytes beyond ASCII become longer in a text.
        try hold(taken <= 3 * bytes.count, "more was read than was sent")
        return read
    }

    static func answers(_ bytes: [UInt8], _ random: inout FuzzRandom) throws {
        let answersHead = random.below(4) == 0
        let unframes = random.below(4) == 0
        let whole = try self.readAnswer([ByteBuffer(bytes: bytes)], bytes, answersHead, unframes)
        let cut = try self.readAnswer(pieces(of: bytes, &random), bytes, answersHead, unframes)
        try hold(whole.status == cut.status, "whether it is refused depends on how the bytes are cut")
        try hold(whole.status != nil || whole == cut, "the answer depends on how the bytes are cut")
        try hold(whole.ends <= 1, "one request has two answers")
    }

    private static func readAnswer(
        _ pieces: [ByteBuffer],
        _ bytes: [UInt8],
        _ answersHead: Bool,
        _ unframes: Bool
    ) throws -> Read {
        var reader = ResponseReader(headLimit: 512)
        reader.expect(answersHead: answersHead, unframes: unframes)
        var read = Read()
        var fuel = FuzzFuel(bytes)
        for piece in pieces where read.status == nil {
            reader.append(piece)
            do {
                while let event = try reader.next() {
                    try fuel.burn()
                    switch event {
                    case .head(let head): read.heads.append("\(head.status) \(head.framing)")
                    case .body(let bytes): read.body += Array(buffer: bytes)
                    case .end: read.ends += 1
                    }
                }
            } catch let refusal as Refusal {
                read.status = refusal.status
            }
        }
        try hold(read.body.count <= bytes.count, "more was read than was sent")
        return read
    }
}
