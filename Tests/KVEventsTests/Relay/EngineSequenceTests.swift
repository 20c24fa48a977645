import KVEvents
import NIOCore
import Testing

@Suite struct EngineSequenceTests {
    private func message(_ number: UInt64, _ text: String = "a") -> EngineMessage {
        EngineMessage(sequence: number, payload: ByteBuffer(string: "\(text)\(number)"))
    }

    private func following(_ count: UInt64, canReplay: Bool = true, held: Int = 100) -> EngineSequence {
        var sequence = EngineSequence(canReplay: canReplay, maximumHeldMessages: held)
        _ = sequence.connected()
        _ = sequence.replayEnded()
        for number in 0..<count { _ = sequence.published(self.message(number)) }
        return sequence
    }

    @Test func `asks for everything when it connects first`() {
        var sequence = EngineSequence(canReplay: true)
        #expect(sequence.connected() == [.replay(from: 0)])
        #expect(sequence.replayed(self.message(0)) == [.apply(self.message(0))])
        #expect(sequence.published(self.message(1)) == [])
        #expect(sequence.published(self.message(2)) == [])
        #expect(sequence.replayed(self.message(1)) == [.apply(self.message(1))])
        #expect(sequence.replayEnded() == [.apply(self.message(2))])
        #expect(sequence.published(self.message(3)) == [.apply(self.message(3))])
        #expect(sequence.expected == 4)
    }

    @Test func `counts each gap once, with and without replay`() {
        for canReplay in [true, false] {
            var sequence = self.following(3, canReplay: canReplay)
            #expect(sequence.gaps == 0)
            _ = sequence.published(self.message(5))
            #expect(sequence.gaps == 1)
            if canReplay {
                for number in 3..<6 { _ = sequence.replayed(self.message(UInt64(number))) }
                _ = sequence.replayEnded()
            }
            _ = sequence.published(self.message(6))
            #expect(sequence.gaps == 1)
            _ = sequence.published(self.message(9))
            #expect(sequence.gaps == 2)
        }
    }

    @Test func `messages from before the first one are no gap`() {
        var sequence = EngineSequence(canReplay: false)
        _ = sequence.connected()
        #expect(sequence.published(self.message(5)) == [.incomplete(before: 5), .apply(self.message(5))])
        #expect(sequence.gaps == 0)
    }

    @Test func `closes a gap and keeps the order`() {
        var sequence = self.following(3)
        #expect(sequence.published(self.message(5)) == [.replay(from: 3)])
        #expect(sequence.published(self.message(6)) == [])
        #expect(sequence.isReplaying)
        #expect(sequence.replayed(self.message(3)) == [.apply(self.message(3))])
        #expect(sequence.replayed(self.message(4)) == [.apply(self.message(4))])
        #expect(sequence.replayed(self.message(5)) == [.apply(self.message(5))])
        #expect(sequence.replayEnded() == [.apply(self.message(6))])
        #expect(!sequence.isReplaying)
    }

    @Test func `asks again for a hole inside an answer`() {
        var sequence = self.following(3)
        #expect(sequence.published(self.message(9)) == [.replay(from: 3)])
        #expect(sequence.replayed(self.message(3)) == [.apply(self.message(3))])
        #expect(sequence.replayed(self.message(6)) == [.replay(from: 4)])
        // Nothing came of it this time: what is missing cannot be had.
        #expect(
            sequence.replayed(self.message(6)) == [.forget(.missed(from: 4, to: 5)), .apply(self.message(6))]
        )
        #expect(sequence.replayEnded() == [.replay(from: 7)])
        #expect(
            sequence.replayEnded() == [.forget(.missed(from: 7, to: 8)), .apply(self.message(9))]
        )
    }

    @Test func `forgets when the engine no longer has what is missing`() {
        var sequence = self.following(3)
        #expect(sequence.published(self.message(9)) == [.replay(from: 3)])
        #expect(
            sequence.replayed(self.message(8)) == [.forget(.missed(from: 3, to: 7)), .apply(self.message(8))]
        )
        #expect(sequence.replayed(self.message(9)) == [.apply(self.message(9))])
        #expect(sequence.replayEnded() == [])
        #expect(sequence.published(self.message(10)) == [.apply(self.message(10))])
    }

    @Test func `forgets at a gap without a replay endpoint`() {
        var sequence = self.following(3, canReplay: false)
        #expect(
            sequence.published(self.message(5)) == [.forget(.missed(from: 3, to: 4)), .apply(self.message(5))]
        )
    }

    @Test func `forgets when the engine does not answer`() {
        var sequence = self.following(3)
        #expect(sequence.published(self.message(5)) == [.replay(from: 3)])
        #expect(
            sequence.replayFailed() == [.forget(.missed(from: 3, to: 4)), .apply(self.message(5))]
        )
    }

    @Test func `an engine that counts from the start again is a new one`() {
        var sequence = self.following(3)
        #expect(sequence.published(self.message(0, "b")) == [.forget(.restarted), .replay(from: 0)])
        #expect(sequence.replayed(self.message(0, "b")) == [.apply(self.message(0, "b"))])
        #expect(sequence.replayEnded() == [])
        #expect(sequence.published(self.message(1, "b")) == [.apply(self.message(1, "b"))])

        var blind = self.following(3, canReplay: false)
        #expect(blind.published(self.message(0, "b")) == [.forget(.restarted), .apply(self.message(0, "b"))])
    }

    @Test func `a restart during a replay begins anew`() {
        var sequence = self.following(3)
        #expect(sequence.published(self.message(5)) == [.replay(from: 3)])
        #expect(sequence.published(self.message(0, "b")) == [.forget(.restarted), .replay(from: 0)])
        #expect(sequence.replayEnded() == [.apply(self.message(0, "b"))])
    }

    @Test func `what a replay brought first is no restart`() {
        var sequence = self.following(3)
        #expect(sequence.published(self.message(4)) == [.replay(from: 3)])
        for number in UInt64(3)...6 { _ = sequence.replayed(self.message(number)) }
        #expect(sequence.replayEnded() == [])
        #expect(sequence.published(self.message(5)) == [])
        #expect(sequence.published(self.message(6)) == [])
        #expect(sequence.published(self.message(7)) == [.apply(self.message(7))])
    }

    @Test func `a new connection to the same engine costs nothing`() {
        var sequence = self.following(3)
        sequence.disconnected()
        #expect(sequence.connected() == [.replay(from: 2)])
        #expect(sequence.replayed(self.message(2)) == [])
        #expect(sequence.replayed(self.message(3)) == [.apply(self.message(3))])
        #expect(sequence.replayEnded() == [])
    }

    @Test func `a new connection to another engine forgets`() {
        var sequence = self.following(3)
        sequence.disconnected()
        #expect(sequence.connected() == [.replay(from: 2)])
        #expect(sequence.replayed(self.message(2, "b")) == [.forget(.restarted), .replay(from: 0)])

        var younger = self.following(3)
        younger.disconnected()
        #expect(younger.connected() == [.replay(from: 2)])
        #expect(younger.replayEnded() == [.forget(.restarted), .replay(from: 0)])
        #expect(younger.replayEnded() == [])
        #expect(younger.published(self.message(0, "b")) == [.apply(self.message(0, "b"))])

        var blind = self.following(3, canReplay: false)
        blind.disconnected()
        #expect(blind.connected() == [.forget(.unverified)])
    }

    @Test func `a start in the middle is not complete`() {
        var sequence = EngineSequence(canReplay: true)
        #expect(sequence.connected() == [.replay(from: 0)])
        #expect(sequence.replayed(self.message(7)) == [.incomplete(before: 7), .apply(self.message(7))])
        #expect(sequence.replayEnded() == [])

        var blind = EngineSequence(canReplay: false)
        #expect(blind.connected() == [])
        #expect(blind.published(self.message(7)) == [.incomplete(before: 7), .apply(self.message(7))])
    }

    @Test func `what waits is bounded, and what was dropped is asked for again`() {
        var sequence = self.following(3, held: 2)
        #expect(sequence.published(self.message(4)) == [.replay(from: 3)])
        for number in UInt64(5)...8 { #expect(sequence.published(self.message(number)) == []) }
        #expect(sequence.dropped == 3)
        #expect(sequence.replayed(self.message(3)) == [.apply(self.message(3))])
        #expect(sequence.replayEnded() == [.apply(self.message(4)), .apply(self.message(5))])
        #expect(sequence.published(self.message(9)) == [.replay(from: 6)])
    }

    @Test func `answers without a question are left out`() {
        var sequence = self.following(3)
        #expect(sequence.replayed(self.message(3)) == [])
        #expect(sequence.replayEnded() == [])
        #expect(sequence.replayFailed() == [])
    }

    /// Any loss, in any order of what comes when: nothing is applied twice or out of order, and all is there at the end.
    @Test(arguments: 0..<50)
    func `random losses are healed`(_ seed: UInt64) {
        var random = SeededNumbers(state: seed &+ 1)
        var sequence = EngineSequence(canReplay: true, maximumHeldMessages: 5)
        var applied: [UInt64] = []
        var kept: [EngineMessage] = []
        var pending: [EngineMessage]?

        func perform(_ actions: [EngineSequence.Action], _ pending: inout [EngineMessage]?) {
            for action in actions {
                switch action {
                case .apply(let message): applied.append(message.sequence)
                case .replay(let from): pending = kept.filter { $0.sequence >= from }
                case .forget, .incomplete: Issue.record("nothing is lost for good, but \(action)")
                }
            }
        }

        perform(sequence.connected(), &pending)
        for number in UInt64(0)..<200 {
            let message = self.message(number)
            kept.append(message)
            if random.next() % 4 != 0 || number == 199 { perform(sequence.published(message), &pending) }
            for _ in 0..<(number == 199 ? 10_000 : Int(random.next() % 6)) {
                guard let next = pending else { break }
                if next.isEmpty {
                    pending = nil
                    perform(sequence.replayEnded(), &pending)
                } else {
                    pending = Array(next.dropFirst())
                    perform(sequence.replayed(next[0]), &pending)
                }
            }
        }
        #expect(applied == Array(0..<200))
    }
}

/// Numbers that are the same in every run.
private struct SeededNumbers: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state = self.state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return self.state >> 33
    }
}
