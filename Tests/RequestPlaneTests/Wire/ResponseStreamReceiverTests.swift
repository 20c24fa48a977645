import NIOCore
import RequestPlane
import Testing

@Suite struct ResponseStreamReceiverTests {
    private typealias Action = ResponseStreamReceiver.Action

    /// Feeds bytes; performs `match` itself.
    private func actions(
        _ machine: inout ResponseStreamReceiver,
        _ bytes: ByteBuffer,
        isKnown: Bool = true
    ) -> [Action] {
        machine.append(bytes)
        var actions: [Action] = []
        while let action = machine.next() {
            actions.append(action)
            if case .match = action, isKnown { machine.matched() }
        }
        return actions
    }

    private func frame(header: String = "", body: String = "") -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeTwoPartMessage(TwoPartMessage(header: ByteBuffer(string: header), body: ByteBuffer(string: body)))
        return buffer
    }

    private var item: ByteBuffer { self.frame(body: #"{"data":{"data":1},"complete_final":false}"#) }
    private var final: ByteBuffer { self.frame(body: #"{"complete_final":true}"#) }

    private func machine(upTo bytes: [ByteBuffer] = []) -> ResponseStreamReceiver {
        var machine = ResponseStreamReceiver(maximumItemSize: 1 << 20)
        for bytes in bytes { _ = self.actions(&machine, bytes) }
        return machine
    }

    private var streaming: ResponseStreamReceiver {
        self.machine(upTo: [Handshake(subject: "s").encoded, Prologue.accepted.encoded])
    }

    @Test(arguments: Fixture.jsonVersions, [1, 5, 24, 10_000])
    func realAnswerInAnySegmentation(_ version: String, _ size: Int) throws {
        var stream = ByteBuffer()
        for name in ["3-handshake", "4-prologue-ok", "5-item", "6-item", "7-final", "8-control-sentinel"] {
            stream.writeImmutableBuffer(try Fixture.bytes("\(version)-tcp-plain-\(name)"))
        }
        let subject = try Handshake(Fixture.message("\(version)-tcp-plain-3-handshake")).subject
        var machine = self.machine()
        var all: [Action] = []
        for piece in stream.pieces(of: size) { all += self.actions(&machine, piece) }
        #expect(
            all == [
                .match(subject), .accept, .deliver([.data(ByteBuffer(string: #"{"i":0,"req":{"n":2}}"#))]),
                .deliver([.data(ByteBuffer(string: #"{"i":1,"req":null}"#))]), .finish, .close,
            ]
        )
        #expect(machine.inputClosed("") == nil)
    }

    @Test(arguments: Fixture.versions)
    func realRefusal(_ version: String) throws {
        var machine = self.machine(upTo: [Handshake(subject: "s").encoded])
        let all = self.actions(&machine, try Fixture.bytes("\(version)-tcp-refuse-4-prologue-error"))
        guard case .fail(let failure)? = all.first else { Issue.record("\(all)"); return }
        #expect(failure.code == .remote)
        #expect(failure.message.contains("boom at call"))
        #expect(self.actions(&machine, try Fixture.bytes("\(version)-tcp-refuse-5-control-sentinel")) == [])
    }

    @Test(arguments: Fixture.versions)
    func realControlPartsOfEveryRelease(_ version: String) throws {
        #expect(try Handshake(Fixture.message("\(version)-tcp-plain-3-handshake")).streamType == "response")
        #expect(try Prologue(Fixture.message("\(version)-tcp-plain-4-prologue-ok")) == .accepted)
        #expect(ControlFrame(try Fixture.message("\(version)-tcp-plain-8-control-sentinel")) == .sentinel)
        for (name, frame) in [("stop-9-control-stop", ControlFrame.stop), ("drop-9-control-kill", .kill)] {
            #expect(ControlFrame(try Fixture.message("\(version)-tcp-\(name)")) == frame)
            #expect(frame.encoded == (try Fixture.bytes("\(version)-tcp-\(name)")))
        }
        #expect(ControlFrame.sentinel.encoded == (try Fixture.bytes("\(version)-tcp-plain-8-control-sentinel")))
        #expect(Prologue.accepted.encoded == (try Fixture.bytes("\(version)-tcp-plain-4-prologue-ok")))
        let handshake = try Handshake(Fixture.message("\(version)-tcp-plain-3-handshake"))
        #expect(handshake.encoded == (try Fixture.bytes("\(version)-tcp-plain-3-handshake")))
    }

    @Test func typedErrorOfNewReleasesIsRead() throws {
        let prologue = try Prologue(Fixture.message("1.6.1-tcp-refuse-4-prologue-error"))
        guard case .refused(let text, let typed) = prologue else { Issue.record("\(prologue)"); return }
        #expect(text == "Generate Error: ValueError: boom at call")
        #expect(typed == RemoteError(kind: .unknown, message: "ValueError: boom at call"))
    }

    @Test func toleratedPrologues() throws {
        for header in ["{}", #"{"error":null,"x":1}"#, " { \"error\" : null } "] {
            #expect(try Prologue(TwoPartMessage(header: ByteBuffer(string: header))) == .accepted)
        }
        #expect(try Prologue(TwoPartMessage(header: ByteBuffer(string: #"{"error":""}"#))) == .refused("", nil))
        #expect(throws: WireError.self) { try Prologue(TwoPartMessage(header: ByteBuffer(string: #"{"error":1}"#))) }
    }

    // MARK: Violations

    @Test func strangersAreReset() {
        for bytes in [
            self.frame(header: "x"), self.frame(header: "{}"),
            self.frame(header: #"{"subject":"s","stream_type":"request"}"#), self.item,
            self.frame(header: #"{"subject":"s","stream_type":"response"}"#, body: "b"), self.frame(),
            ByteBuffer(string: "GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n"), ByteBuffer(repeating: 0xFF, count: 30),
            ByteBuffer(bytes: [0, 0, 0, 0, 0, 1, 0, 1] + [UInt8](repeating: 0, count: 16)),
        ] {
            var machine = self.machine()
            let all = self.actions(&machine, bytes)
            guard case .reset? = all.first, all.count == 1 else { Issue.record("\(all)"); continue }
            #expect(self.actions(&machine, self.item) == [])
        }
    }

    @Test func nothingIsReadBeforeTheSubjectIsFound() {
        var machine = self.machine()
        var bytes = Handshake(subject: "s").encoded
        bytes.writeImmutableBuffer(Prologue.accepted.encoded)
        #expect(self.actions(&machine, bytes, isKnown: false) == [.match("s")])
        machine.matched()
        #expect(machine.next() == .accept)
    }

    @Test func violationsKillTheStream() {
        let beforePrologue = self.machine(upTo: [Handshake(subject: "s").encoded])
        let cases: [(ResponseStreamReceiver, ByteBuffer)] = [
            (beforePrologue, self.item), (beforePrologue, self.frame(header: #"{"error":null}"#, body: "x")),
            (beforePrologue, self.frame(header: "\"sentinel\"")), (self.streaming, self.frame(header: "\"stop\"")),
            (self.streaming, self.frame(header: "\"sentinel\"", body: "x")), (self.streaming, self.frame(header: "{}")),
            (self.streaming, self.frame(body: "x")), (self.streaming, self.frame(body: "{}")),
            (self.streaming, self.frame(body: #"{"complete_final":false}"#)),
            (self.streaming, ByteBuffer(repeating: 0x7F, count: 24)),
        ]
        for (start, bytes) in cases {
            var machine = start
            let all = self.actions(&machine, bytes)
            guard case .killAndFail(let failure)? = all.first, all.count == 1 else { Issue.record("\(all)"); continue }
            #expect(failure.code == .protocolViolation)
            #expect(self.actions(&machine, self.item) == [])
        }
    }

    // MARK: Ends

    @Test func finalFrameDecides() {
        var machine = self.streaming
        #expect(self.actions(&machine, self.final) == [.finish])
        #expect(machine.inputClosed("") == .close)

        machine = self.streaming
        #expect(
            self.actions(&machine, self.frame(body: #"{"data":{"data":1},"complete_final":true}"#))
                == [.deliver([.data(ByteBuffer(string: "1"))]), .finish]
        )

        machine = self.streaming
        guard case .fail(let failure)? = self.actions(&machine, ControlFrame.sentinel.encoded).first else {
            Issue.record("no failure"); return
        }
        #expect(failure.code == .streamEndedEarly)

        machine = self.streaming
        guard case .fail(let early)? = machine.inputClosed("reset") else { Issue.record("no failure"); return }
        #expect(early.code == .streamEndedEarly)
    }

    @Test func dataAfterTheFinalFrameIsNotDelivered() {
        var machine = self.streaming
        #expect(self.actions(&machine, self.final) == [.finish])
        #expect(self.actions(&machine, self.item) == [.close])
    }

    @Test func emptyFramesAreIgnored() {
        var machine = self.streaming
        #expect(self.actions(&machine, self.frame()) == [])
        #expect(self.actions(&machine, self.item).count == 1)
    }

    @Test func stoppedStreamEndsNormally() {
        var machine = self.streaming
        #expect(machine.stop() == true)
        #expect(machine.stop() == false)
        #expect(self.actions(&machine, self.item).count == 1)
        #expect(machine.inputClosed("") == .finishAndClose)

        machine = self.streaming
        _ = machine.stop()
        #expect(self.actions(&machine, ControlFrame.sentinel.encoded) == [.finishAndClose])

        machine = self.streaming
        _ = machine.stop()
        #expect(machine.lingerEnded() == .finishAndClose)
    }

    @Test func killIsSentOnlyWhileTheWorkerWorks() {
        var machine = self.streaming
        #expect(machine.kill() == true)
        #expect(self.actions(&machine, self.item) == [])
        machine = self.machine()
        #expect(machine.kill() == false)
        machine = self.streaming
        _ = self.actions(&machine, self.final)
        #expect(machine.kill() == false)
    }

    @Test func closedBeforeThePrologue() {
        var machine = self.machine(upTo: [Handshake(subject: "s").encoded])
        guard case .fail(let failure)? = machine.inputClosed("gone") else { Issue.record("no failure"); return }
        #expect(failure.code == .streamEndedEarly)
        machine = self.machine()
        #expect(machine.inputClosed("gone") == .close)
    }
}
