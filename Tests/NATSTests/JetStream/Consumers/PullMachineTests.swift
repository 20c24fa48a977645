import NIOCore
import Testing

@testable import NATS

@Suite struct PullMachineTests {
    private let start = ContinuousClock.now

    private func machine(window: Int = 10) -> PullMachine {
        PullMachine(window: window, patience: .seconds(3), connectionNumber: 0, now: self.start)
    }

    @Test func `pulls the window, and more when half of it is taken`() {
        var machine = self.machine()
        #expect(machine.next(buffered: 0, connectionNumber: 0, now: self.start) == .pull(number: 1, batch: 10))
        #expect(
            machine.next(buffered: 0, connectionNumber: 0, now: self.start) == .wait(until: self.start + .seconds(3))
        )
        for _ in 0..<10 { machine.arrived(now: self.start + .seconds(1)) }
        let waiting = machine.next(buffered: 6, connectionNumber: 0, now: self.start)
        #expect(waiting == .wait(until: self.start + .seconds(4)))
        #expect(machine.next(buffered: 5, connectionNumber: 0, now: self.start) == .pull(number: 2, batch: 5))
    }

    @Test func `an ended pull is followed by another, the end of an older one by nothing`() {
        var machine = self.machine()
        _ = machine.next(buffered: 0, connectionNumber: 0, now: self.start)
        #expect(machine.said(.ended, to: 1, now: self.start) == nil)
        #expect(machine.next(buffered: 0, connectionNumber: 0, now: self.start) == .pull(number: 2, batch: 10))
        #expect(machine.said(.ended, to: 1, now: self.start) == nil)
        #expect(
            machine.next(buffered: 0, connectionNumber: 0, now: self.start) == .wait(until: self.start + .seconds(3))
        )
    }

    @Test func `silence leads to a question, signs of life do not`() {
        var machine = self.machine()
        _ = machine.next(buffered: 0, connectionNumber: 0, now: self.start)
        #expect(machine.said(.heartbeat, to: 1, now: self.start + .seconds(2)) == nil)
        let alive = machine.next(buffered: 0, connectionNumber: 0, now: self.start + .seconds(4))
        #expect(alive == .wait(until: self.start + .seconds(5)))
        #expect(machine.next(buffered: 0, connectionNumber: 0, now: self.start + .seconds(5)) == .check(pause: false))
        machine.checked()
        let again = machine.next(buffered: 0, connectionNumber: 0, now: self.start + .seconds(5))
        #expect(again == .pull(number: 2, batch: 10))
        // The second silence in a row.
        #expect(machine.next(buffered: 0, connectionNumber: 0, now: self.start + .seconds(9)) == .check(pause: true))
    }

    @Test func `a new connection leads to a question`() {
        var machine = self.machine()
        _ = machine.next(buffered: 0, connectionNumber: 0, now: self.start)
        #expect(machine.next(buffered: 0, connectionNumber: 1, now: self.start) == .check(pause: false))
        machine.checked()
        #expect(machine.next(buffered: 0, connectionNumber: 1, now: self.start) == .pull(number: 2, batch: 10))
    }

    @Test func `a deleted consumer and a refused pull are the end, a shutdown is not`() {
        var machine = self.machine()
        _ = machine.next(buffered: 0, connectionNumber: 0, now: self.start)
        #expect(machine.said(.consumerDeleted, to: 1, now: self.start) == .consumerMissing)
        #expect(machine.said(.refused("Bad Request"), to: 1, now: self.start) == .refused)
        #expect(machine.said(.interrupted("409 Server Shutdown"), to: 1, now: self.start) == nil)
        #expect(machine.next(buffered: 0, connectionNumber: 0, now: self.start) == .check(pause: false))
    }

    @Test(arguments: [
        ("100", "Idle Heartbeat", PullStatus.heartbeat),
        ("404", "No Messages", .ended),
        ("408", "Request Timeout", .ended),
        ("409", "Consumer Deleted", .consumerDeleted),
        ("409", "Server Shutdown", .interrupted("409 Server Shutdown")),
        ("409", "Exceeded MaxRequestBatch of 5", .refused("Exceeded MaxRequestBatch of 5")),
        ("400", "Bad Request", .refused("Bad Request")),
        ("418", "", .interrupted("418 ")),
    ])
    func `what a server says to a pull`(status: String, text: String, expected: PullStatus) {
        let headers: NATSHeaders = ["Status": status, "Description": text]
        #expect(PullStatus(NATSMessage(subject: "i", headers: headers)) == expected)
        let stored = NATSMessage(subject: "i", headers: headers, payload: ByteBuffer(string: "x"))
        #expect(PullStatus(stored) == nil)
    }

    @Test func `a message's position in both forms`() {
        let short = JetStreamMessage.Position("$JS.ACK.s.c.1.22.3.1795432399481141362.7")
        #expect(short?.stream == "s" && short?.consumer == "c" && short?.deliveries == 1)
        #expect(short?.streamSequence == 22 && short?.consumerSequence == 3 && short?.pending == 7)
        #expect(JetStreamMessage.Position("$JS.ACK.domain.account.s.c.1.22.3.1795432399481141362.7.token") == short)
        #expect(JetStreamMessage.Position("$JS.ACK.domain.account.s.c.1.22.3.1795432399481141362.7") == short)
        for bad in ["", "_INBOX.x", "$JS.ACK.s.c.1.22.3.1", "$JS.ACK.s.c.x.22.3.1.7"] {
            #expect(JetStreamMessage.Position(bad) == nil)
        }
    }
}
