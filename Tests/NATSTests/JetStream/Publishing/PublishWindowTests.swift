import NIOCore
import Testing

@testable import NATS

@Suite struct PublishWindowTests {
    private func message(_ text: String) -> StreamMessage {
        StreamMessage(subject: "s", id: text, payload: ByteBuffer(string: text))
    }

    private func stored(_ sequence: UInt64, duplicate: Bool = false) -> PublishAcknowledgement {
        PublishAcknowledgement(stream: "s", sequence: sequence, isDuplicate: duplicate)
    }

    @Test func `messages leave when they are acknowledged`() {
        var window = PublishWindow()
        let numbers = ["a", "b"].map { window.add(self.message($0)) }
        #expect(window.acknowledged(numbers[0], self.stored(1)) == true)
        #expect(window.acknowledged(numbers[0], self.stored(1)) == false)
        #expect(window.acknowledged(numbers[1], self.stored(2)) == true)
        #expect(window.count == 0 && window.statistics.acknowledged == 2 && window.statistics.disorders == 0)
    }

    @Test func `after a loss everything is sent again in order, and old answers do not count`() {
        var window = PublishWindow()
        let numbers = ["a", "b", "c"].map { window.add(self.message($0)) }
        window.failed(numbers[1])
        #expect(window.isBroken)
        window.beginRecovery()
        #expect(window.acknowledged(numbers[0], self.stored(1)) == false)
        var sent: [String?] = []
        func next() -> PublishWindow.Entry? {
            let entry = window.takeOldest()
            sent.append(entry?.message.id)
            return entry
        }
        if let entry = next() { window.stored(entry, self.stored(1, duplicate: true)) }
        if let entry = next() { window.putBack(entry) }
        #expect(window.isBroken)
        window.beginRecovery()
        if let entry = next() { window.stored(entry, self.stored(2)) }
        if let entry = next() { window.stored(entry, self.stored(3)) }
        #expect(next() == nil)
        #expect(sent == ["a", "b", "b", "c", nil])
        #expect(!window.isBroken)
        #expect(window.statistics.duplicates == 1 && window.statistics.disorders == 0)
    }

    @Test func `a message that was stored after a later one is noticed`() {
        var window = PublishWindow()
        let numbers = ["a", "b", "c"].map { window.add(self.message($0)) }
        window.acknowledged(numbers[2], self.stored(1))
        window.beginRecovery()
        for sequence in [2, 3] {
            if let entry = window.takeOldest() { window.stored(entry, self.stored(UInt64(sequence))) }
        }
        #expect(window.statistics.disorders == 2)
    }
}
