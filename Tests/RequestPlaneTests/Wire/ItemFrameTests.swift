import NIOCore
import RequestPlane
import Testing

@Suite struct ItemFrameTests {
    private func read(_ text: String) throws -> ItemFrame { try ItemFrame(ByteBuffer(string: text)) }

    private func data(_ text: String) -> ResponseItem { .data(ByteBuffer(string: text)) }

    @Test(arguments: Fixture.jsonVersions)
    func realItems(_ version: String) throws {
        let first = try ItemFrame(Fixture.message("\(version)-tcp-plain-5-item").body)
        #expect(first == ItemFrame(items: [self.data(#"{"i":0,"req":{"n":2}}"#)], isFinal: false))
        let second = try ItemFrame(Fixture.message("\(version)-tcp-plain-6-item").body)
        #expect(second == ItemFrame(items: [self.data(#"{"i":1,"req":null}"#)], isFinal: false))
        let final = try ItemFrame(Fixture.message("\(version)-tcp-plain-7-final").body)
        #expect(final == ItemFrame(items: [], isFinal: true))
        let error = try ItemFrame(Fixture.message("\(version)-tcp-raise-6-item-error").body)
        #expect(!error.isFinal)
        guard case .failure(let remote)? = error.items.first else { Issue.record("no failure: \(error)"); return }
        #expect(remote.kind == .unknown)
        #expect(remote.message.contains("boom mid stream"))
    }

    @Test(arguments: Fixture.jsonVersions)
    func itemsAreWrittenAsRealWorkersDo(_ version: String) throws {
        for name in ["plain-5-item", "plain-6-item"] {
            let bytes = try Fixture.bytes("\(version)-tcp-\(name)")
            let frame = try ItemFrame(Fixture.message("\(version)-tcp-\(name)").body)
            var written = ByteBuffer()
            written.writeItemFrame(frame.items[0])
            #expect(written == bytes)
        }
        var final = ByteBuffer()
        final.writeFinalFrame()
        #expect(final == (try Fixture.bytes("\(version)-tcp-plain-7-final")))
    }

    /// A frame that is written as usual is read by a short cut, which must not see more or less than the long way.
    @Test(arguments: ["1", " 1", "1 ", "\"a\"", "{\"data\":{\"data\":1},\"complete_final\":false}", "null", "[ ]"])
    func plainFrames(_ payload: String) throws {
        let plain = try self.read(#"{"data":{"data":"# + payload + #"},"complete_final":false}"#)
        let spaced = try self.read(#"{"data":{"data":"# + payload + #"},"complete_final":false }"#)
        let trimmed = String(payload.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        #expect(plain == ItemFrame(items: [self.data(trimmed)], isFinal: false))
        #expect(spaced == plain)
    }

    @Test(arguments: ["", " ", "1,", "1 2", "{", "\"", "1}", "nul", ",\"x\":1", "[1}"])
    func brokenPayloads(_ payload: String) {
        #expect(throws: WireError.self) {
            try self.read(#"{"data":{"data":"# + payload + #"},"complete_final":false}"#)
        }
    }

    /// Two members of one name: the last one counts, so the short cut must not take the first.
    @Test func payloadsThatCloseTheirFrame() throws {
        let frame = try self.read(#"{"data":{"data":1,"data":2},"complete_final":false}"#)
        #expect(frame.items == [self.data("2")])
        let ended = try self.read(#"{"data":{"data":1},"complete_final":true,"x":{"data":2},"complete_final":false}"#)
        #expect(ended == ItemFrame(items: [self.data("1")], isFinal: false))
    }

    @Test func annotatedItems() throws {
        #expect(try self.read(#"{"data":{},"complete_final":false}"#).items == [self.data("null")])
        #expect(try self.read(#"{"data":{"data":null},"complete_final":false}"#).items == [self.data("null")])
        #expect(
            try self.read(#"{"complete_final":true,"data":{"data":1}}"#)
                == ItemFrame(items: [self.data("1")], isFinal: true)
        )
        #expect(try self.read(#"{"data":null,"complete_final":true}"#) == ItemFrame(items: [], isFinal: true))
        #expect(
            try self.read(
                #" { "x":[1], "data" : { "id":"7", "event":"note", "data" : [1 , 2] , "comment":["a","b"] } , "complete_final" : false } "#
            ).items
                == [.annotation(event: "note", comments: ["a", "b"]), self.data("[1 , 2]")]
        )
        #expect(
            try self.read(#"{"data":{"event":"note"},"complete_final":false}"#).items == [
                .annotation(event: "note", comments: [])
            ]
        )
        // Keys may be escaped.
        #expect(try self.read(#"{"d\u0061ta":{"d\u0061ta":1},"complete_final":false}"#).items == [self.data("1")])
    }

    @Test func errors() throws {
        func failure(_ text: String) throws -> RemoteError? {
            guard
                case .failure(let error)? = try self.read(#"{"data":"# + text + #","complete_final":false}"#).items
                    .first
            else { return nil }
            return error
        }
        #expect(
            try failure(
                #"{"event":"error","error":{"error_type":{"Backend":"InvalidArgument"},"class":"X","message":"m"}}"#
            )
                == RemoteError(kind: .invalidArgument, message: "m")
        )
        #expect(try failure(#"{"event":"error","error":{"error_type":"Cancelled","message":"m"}}"#)?.kind == .cancelled)
        #expect(try failure(#"{"event":"error","error":{"error_type":"Novel","message":"m"}}"#)?.kind == .unknown)
        #expect(try failure(#"{"event":"error","error":{"message":"m"}}"#)?.message == "m")
        #expect(try failure(#"{"event":"error","comment":["a","b"]}"#) == RemoteError(kind: .unknown, message: "a; b"))
        #expect(try failure(#"{"event":"error"}"#)?.kind == .unknown)
        // Without the event it is not an error.
        #expect(try failure(#"{"error":{"error_type":"Unknown","message":"m"},"data":1}"#) == nil)
    }

    @Test(arguments: [
        "", "x", "[]", "{}", #"{"data":{"data":1}}"#, #"{"data":null,"complete_final":false}"#,
        #"{"complete_final":false}"#,
        #"{"data":{"data":1},"complete_final":1}"#, #"{"data":[1],"complete_final":false}"#,
        #"{"data":{"data":1,},"complete_final":false}"#,
        #"{"data":{"data":1},"complete_final":false} x"#, #"{"data":{"data":01},"complete_final":false}"#,
    ])
    func malformed(_ text: String) {
        #expect(throws: WireError.self) { try self.read(text) }
    }

    @Test(arguments: RemoteError.Kind.allCases)
    func kindsSurviveARoundTripInNamesThatOldCallersKnow(_ kind: RemoteError.Kind) throws {
        var bytes = ByteBuffer()
        bytes.writeItemFrame(.failure(RemoteError(kind: kind, message: "a \"quoted\" text")))
        let body = try #require(bytes.getSlice(at: 24, length: bytes.readableBytes - 24))
        #expect(try ItemFrame(body).items == [.failure(RemoteError(kind: kind, message: "a \"quoted\" text"))])
        let safe = ["Unknown", "InvalidArgument", "CannotConnect", "Disconnected", "ConnectionTimeout"]
        #expect(safe.contains { body.text.contains("\"error_type\":\"\($0)\"") })
    }

    @Test func annotationsSurviveARoundTrip() throws {
        for item in [
            ResponseItem.annotation(event: "a", comments: []), .annotation(event: "b\"", comments: ["x", "y\n"]),
        ] {
            var bytes = ByteBuffer()
            bytes.writeItemFrame(item)
            let body = try #require(bytes.getSlice(at: 24, length: bytes.readableBytes - 24))
            #expect(try ItemFrame(body).items == [item])
        }
    }

    @Test func payloadIsASliceNotACopy() throws {
        let payload = "\"" + String(repeating: "x", count: 1000) + "\""
        let body = ByteBuffer(string: #"{"data":{"data":"# + payload + #"},"complete_final":false}"#)
        guard case .data(let slice)? = try ItemFrame(body).items.first else { Issue.record("no data"); return }
        let outer = body.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) }
        let inner = slice.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) }
        #expect(inner == outer + 16)
    }

    @Test func `A bare item is written without the wrapping, and known by having none`() throws {
        let item = ByteBuffer(string: #"{"Error":"text"}"#)
        var frame = ByteBuffer()
        frame.writeItemFrame(.bare(item))
        var decoder = TwoPartDecoder(maximumHeaderSize: 1 << 20, maximumBodySize: 1 << 20)
        decoder.append(frame)
        let body = try #require(try decoder.next()).body
        #expect(String(buffer: body) == #"{"data":{"Error":"text"},"complete_final":false}"#)
        #expect(try ItemFrame(body) == ItemFrame(items: [.bare(item)], isFinal: false))
    }
}
