import NIOCore
import RequestPlane
import Testing

@Suite struct ResponseStreamSenderTests {
    private func frame(header: String = "", body: String = "") -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeTwoPartMessage(TwoPartMessage(header: ByteBuffer(string: header), body: ByteBuffer(string: body)))
        return buffer
    }

    @Test func order() {
        var machine = ResponseStreamSender()
        #expect(!machine.isStreaming)
        #expect(machine.finish() == false)
        #expect(machine.accept() == true)
        #expect(machine.accept() == false)
        #expect(machine.refuse() == false)
        #expect(machine.isStreaming)
        #expect(machine.finish() == true)
        #expect(machine.finish() == false)
        #expect(!machine.isStreaming)
        #expect(machine.hasEnded)
        #expect(machine.inputClosed() == .close)
    }

    @Test func refusal() {
        var machine = ResponseStreamSender()
        #expect(machine.refuse() == true)
        #expect(machine.accept() == false)
        #expect(machine.hasEnded)
        #expect(machine.connectionClosed("") == .close)
    }

    @Test(arguments: Fixture.versions, [1, 7, 1000])
    func realControlFrames(_ version: String, _ size: Int) throws {
        for (name, reason) in [
            ("stop-9-control-stop", ResponseStreamSender.Cancellation.stopped), ("drop-9-control-kill", .killed),
        ] {
            var machine = ResponseStreamSender()
            _ = machine.accept()
            var actions: [ResponseStreamSender.Action] = []
            for piece in try Fixture.bytes("\(version)-tcp-\(name)").pieces(of: size) {
                if let action = machine.receive(piece) { actions.append(action) }
            }
            #expect(actions == [.cancel(reason)])
            #expect(!machine.isStreaming)
            #expect(machine.finish() == false)
        }
    }

    @Test func anythingElseFromTheCallerIsAViolation() {
        for bytes in [
            self.frame(header: "\"sentinel\""), self.frame(header: "\"hello\""), self.frame(header: "x"),
            self.frame(body: "x"),
            ByteBuffer(repeating: 0xFF, count: 24), ByteBuffer(string: "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ] {
            var machine = ResponseStreamSender()
            _ = machine.accept()
            guard case .cancel(.violation)? = machine.receive(bytes) else { Issue.record("\(bytes)"); continue }
        }
    }

    @Test func controlFramesAfterTheEndOnlyClose() {
        var machine = ResponseStreamSender()
        _ = machine.accept()
        _ = machine.finish()
        #expect(machine.receive(ControlFrame.kill.encoded) == .close)
        #expect(machine.receive(ControlFrame.kill.encoded) == nil)
    }

    @Test func halfClosedCallerIsProbed() {
        var machine = ResponseStreamSender()
        _ = machine.accept()
        #expect(machine.inputClosed() == .probe)
        #expect(machine.isStreaming)
        #expect(machine.connectionClosed("reset") == .cancel(.disconnected("reset")))
        machine = ResponseStreamSender()
        guard case .cancel(.disconnected)? = machine.inputClosed() else { Issue.record("not cancelled"); return }
    }
}
