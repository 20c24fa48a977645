import NIOCore
import RequestPlane
import Testing

@Suite struct TCPClientConnectionTests {
    private let soon = NIODeadline.uptimeNanoseconds(1_000)
    private let later = NIODeadline.uptimeNanoseconds(2_000)

    private func acknowledgements(_ all: TCPAcknowledgement...) -> ByteBuffer {
        var buffer = ByteBuffer()
        for one in all { buffer.writeTCPAcknowledgement(one) }
        return buffer
    }

    private func actions(_ machine: inout TCPClientConnection, _ bytes: ByteBuffer) -> [TCPClientConnection.Action] {
        machine.append(bytes)
        var actions: [TCPClientConnection.Action] = []
        while let action = machine.next() { actions.append(action) }
        return actions
    }

    @Test func pairsByOrder() {
        var machine = TCPClientConnection(capacity: 3, maximumAcknowledgementSize: 100)
        #expect(
            [machine.send(deadline: self.soon), machine.send(deadline: self.soon), machine.send(deadline: self.soon)]
                == [1, 2, 3]
        )
        #expect(!machine.hasCapacity)
        #expect(machine.send(deadline: self.soon) == nil)
        #expect(
            self.actions(&machine, self.acknowledgements(.accepted, .refused("no"))) == [
                .complete(1, .accepted), .complete(2, .refused("no")),
            ]
        )
        #expect(machine.hasCapacity && machine.pendingCount == 1)
        #expect(self.actions(&machine, self.acknowledgements(.accepted, .accepted)) == [.complete(3, .accepted)])
    }

    @Test func lateAcknowledgementKeepsItsPlace() {
        var machine = TCPClientConnection(capacity: 3, maximumAcknowledgementSize: 100)
        _ = machine.send(deadline: self.soon)
        _ = machine.send(deadline: self.later)
        #expect(machine.nextDeadline == self.soon)
        #expect(machine.expire(now: self.soon) == [1])
        #expect(machine.nextDeadline == self.later)
        #expect(!machine.hasCapacity, "a late peer gets no new requests")
        #expect(machine.closeIfUnwanted() == false)
        #expect(
            self.actions(&machine, self.acknowledgements(.accepted, .refused("x"))) == [
                .complete(2, .refused("x")), .close,
            ]
        )
    }

    @Test func closesWhenNobodyWaits() {
        var machine = TCPClientConnection(capacity: 3, maximumAcknowledgementSize: 100)
        _ = machine.send(deadline: self.soon)
        #expect(machine.expire(now: self.later) == [1])
        #expect(machine.closeIfUnwanted() == true)
    }

    @Test func everyPendingRequestFailsWithTheConnection() {
        var machine = TCPClientConnection(capacity: 3, maximumAcknowledgementSize: 100)
        _ = machine.send(deadline: self.soon)
        _ = machine.send(deadline: self.later)
        let failure = PlaneFailure(.connectFailed, "gone")
        #expect(machine.closed(failure) == .fail([1, 2], failure))
        #expect(!machine.hasCapacity && machine.next() == nil)
    }

    @Test func unreadableAcknowledgement() {
        var machine = TCPClientConnection(capacity: 3, maximumAcknowledgementSize: 100)
        _ = machine.send(deadline: self.soon)
        guard case .fail([1], let failure)? = self.actions(&machine, ByteBuffer(bytes: [1, 0, 0, 0])).first else {
            Issue.record("no failure")
            return
        }
        #expect(failure.code == .protocolViolation)
    }

    @Test func retiring() {
        var machine = TCPClientConnection(capacity: 3, maximumAcknowledgementSize: 100)
        _ = machine.send(deadline: self.soon)
        #expect(machine.retire() == false)
        #expect(self.actions(&machine, self.acknowledgements(.accepted)) == [.complete(1, .accepted), .close])
        var idle = TCPClientConnection(capacity: 3, maximumAcknowledgementSize: 100)
        #expect(idle.retire() == true)
    }
}

@Suite struct TCPServerConnectionTests {
    @Test func dispatchesInOrder() throws {
        var machine = TCPServerConnection(maximumMessageSize: 1 << 20)
        let frame = try Fixture.request("1.2.1-tcp-plain-1-request")
        let bytes = try Fixture.bytes("1.2.1-tcp-plain-1-request")
        machine.append(bytes)
        machine.append(bytes)
        let path = try #require(frame.pathText)
        #expect(machine.next() == .dispatch(path: path, frame))
        #expect(machine.next() == .dispatch(path: path, frame))
        #expect(machine.next() == nil)
        #expect(!machine.isInsideFrame)
        machine.append(ByteBuffer(bytes: [0]))
        #expect(machine.next() == nil && machine.isInsideFrame)
    }

    @Test func badPathLeavesTheConnectionUsable() throws {
        var machine = TCPServerConnection(maximumMessageSize: 1 << 20)
        machine.append(ByteBuffer(bytes: [0, 2, 0xFF, 0xFE, 0, 0, 0, 0, 0, 0]))
        #expect(machine.next() == .refuse("Invalid endpoint path"))
        machine.append(try Fixture.bytes("1.2.1-tcp-plain-1-request"))
        guard case .dispatch? = machine.next() else { Issue.record("not dispatched"); return }
    }

    @Test func oversizeEndsTheConnectionWithTheTextOfRealServers() throws {
        var machine = TCPServerConnection(maximumMessageSize: 33_554_432)
        machine.append(ByteBuffer(bytes: [0, 0, 0, 0, 0x02, 0x80, 0x00, 0x16]))
        var decoder = TCPAcknowledgementDecoder(limit: 1024)
        decoder.append(try Fixture.bytes("1.2.1-tcp-ack-too-large"))
        guard case .refused(let text)? = try decoder.next() else { Issue.record("no text"); return }
        #expect(machine.next() == .refuseAndClose(text))
        machine.append(try Fixture.bytes("1.2.1-tcp-plain-1-request"))
        #expect(machine.next() == nil)
    }
}
