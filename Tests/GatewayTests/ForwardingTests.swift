import NIOCore
import Testing

@testable import Gateway

/// Heads as backends and clients get them: written into memory that is measured before.
@Suite struct ForwardingTests {
    private static func head(_ lines: [String]) throws -> RequestHead {
        try RequestHead(ByteBuffer(string: lines.joined(separator: "\r\n") + "\r\n\r\n"))
    }

    private static func forwarded(_ lines: [String], _ peer: Peer) throws -> (lines: [String], id: String) {
        var names = NameGenerator()
        let (bytes, id) = try Self.head(lines).forBackend(peer, &names)
        return (String(buffer: bytes).split(separator: "\r\n").map(String.init), id)
    }

    @Test func aClientThatIsBelievedIsExtended() throws {
        let peer = Peer(address: "::1", isSecure: true, isTrusted: true)
        let (lines, _) = try Self.forwarded(
            [
                "GET / HTTP/1.1", "Host: a:81", "X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1",
                "X-Forwarded-For: 10.0.0.2", "X-Forwarded-Host: public.test",
            ],
            peer
        )
        #expect(lines.contains("x-forwarded-for: 10.0.0.1, 10.0.0.2, ::1"))
        #expect(lines.contains("x-forwarded-proto: https"))
        #expect(lines.contains("x-forwarded-host: public.test"))
        #expect(lines.contains(#"forwarded: for=10.0.0.1, for="[::1]";proto=https;host="a:81""#))
        #expect(!lines.contains { $0.hasPrefix("X-Forwarded") || $0.hasPrefix("Forwarded") })
    }

    @Test func idsHaveTheirForms() throws {
        let peer = Peer(address: "127.0.0.1", isSecure: false, isTrusted: false)
        var ids: Set<String> = []
        for _ in 0..<20 {
            let (lines, id) = try Self.forwarded(["GET / HTTP/1.1", "Host: a"], peer)
            #expect(
                try #/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/#.wholeMatch(in: id) != nil
            )
            #expect(lines.contains("x-request-id: \(id)"))
            let trace = lines.first { $0.hasPrefix("traceparent") } ?? ""
            #expect(try #/traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-01/#.wholeMatch(in: trace) != nil)
            ids.insert(id)
        }
        #expect(ids.count == 20)
        #expect(Hexadecimal.digits(0x0019_abef) == 0x3030_3139_6162_6566)
    }

    /// Every field that is written anew, in every combination, and as long as it can be beside the others.
    @Test(arguments: [false, true]) func everyHeadFits(isTrusted: Bool) throws {
        let peer = Peer(address: "fe80::1234:5678:9abc:def0", isSecure: true, isTrusted: isTrusted)
        let host = String(repeating: "h", count: 300)
        // Not UTF-8: as text each byte of it becomes three.
        let opaque = [UInt8](repeating: 0xFF, count: 200)
        let fields: [(String, [UInt8])] = [
            ("Host", Array(host.utf8)), ("X-Forwarded-For", opaque), ("X-Forwarded-Proto", opaque),
            ("X-Forwarded-Host", opaque), ("Forwarded", opaque), ("X-Request-Id", opaque),
            ("Connection", Array("upgrade".utf8)), ("Upgrade", Array("websocket".utf8)), ("Traceparent", opaque),
        ]
        for choice in 0..<1 << fields.count where choice & 1 == 1 {
            var bytes = Array("GET http://\(host)/ HTTP/1.1\r\n".utf8)
            for (index, field) in fields.enumerated() where choice >> index & 1 == 1 {
                bytes += Array("\(field.0): ".utf8) + field.1 + Array("\r\n".utf8)
            }
            let head = try RequestHead(ByteBuffer(bytes: bytes + Array("\r\n".utf8)))
            var names = NameGenerator()
            let forwarded = try RequestHead(head.forBackend(peer, &names).bytes)
            #expect(forwarded.target == "/" && forwarded.value(of: "host") == host)
            #expect(forwarded.wantsUpgrade == (choice >> 6 & 3 == 3))
        }
    }

    @Test func anAnswerNamesTheRequestOnce() throws {
        let id = String(repeating: "i", count: 5000)
        let plain = try ResponseHead(ByteBuffer(string: "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"), answersHead: false)
        let named = "HTTP/1.1 200 OK\r\nX-Request-Id: own\r\nConnection: close\r\n\r\n"
        let own = try ResponseHead(ByteBuffer(string: named), answersHead: false)
        for connection in ["close", "keep-alive"] as [StaticString] {
            let text = String(buffer: plain.forClient(connection: connection, isUnframed: false, requestID: id))
            #expect(text == "HTTP/1.1 200 OK\r\nServer: x\r\nx-request-id: \(id)\r\nconnection: \(connection)\r\n\r\n")
        }
        let text = String(buffer: own.forClient(connection: nil, isUnframed: false, requestID: id))
        #expect(text == "HTTP/1.1 200 OK\r\nX-Request-Id: own\r\n\r\n")
    }
}
