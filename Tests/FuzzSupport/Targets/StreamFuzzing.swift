import NIOCore
import RequestPlane

/// The machines at both ends of a response stream, fed with what a peer may send and in every order of calls.
enum StreamFuzzing {
    static func streams(_ bytes: [UInt8], _ random: inout FuzzRandom) throws {
        let parts = pieces(of: bytes, &random)
        let begins = random.oneIn(2)
        let whole = try self.receive([ByteBuffer(bytes: bytes)], bytes, hasBegun: begins)
        let cut = try self.receive(parts, bytes, hasBegun: begins)
        try hold(whole == cut, "what a caller makes of a stream depends on how the bytes are cut")

        try hold(
            self.firstWish([ByteBuffer(bytes: bytes)]) == self.firstWish(parts),
            "what a worker makes of control frames depends on how the bytes are cut"
        )
        try self.anyOrderAtTheCaller(parts, bytes, &random)
        try self.anyOrderAtTheWorker(parts, &random)
    }

    private static func receive(
        _ pieces: [ByteBuffer],
        _ bytes: [UInt8],
        hasBegun: Bool
    ) throws -> [ResponseStreamReceiver.Action] {
        var receiver = ResponseStreamReceiver(maximumItemSize: 4096)
        if hasBegun { self.begin(&receiver) }
        var actions: [ResponseStreamReceiver.Action] = []
        var fuel = FuzzFuel(bytes)
        for piece in pieces {
            receiver.append(piece)
            while let action = receiver.next() {
                try fuel.burn()
                actions.append(action)
                if case .match = action { receiver.matched() }
            }
        }
        if let action = receiver.inputClosed("end") { actions.append(action) }
        try hold(receiver.next() == nil, "a closed stream goes on")
        try hold(receiver.inputClosed("end") == nil, "a closed stream ends again")
        try hold(actions.count(where: self.endsAnswer) <= 1, "an answer ends twice")
        return actions
    }

    private static func begin(_ receiver: inout ResponseStreamReceiver) {
        receiver.append(Handshake(subject: "s").encoded)
        _ = receiver.next()
        receiver.matched()
        receiver.append(Prologue.accepted.encoded)
        _ = receiver.next()
    }

    private static func endsAnswer(_ action: ResponseStreamReceiver.Action) -> Bool {
        switch action {
        case .finish, .finishAndClose, .fail, .killAndFail: true
        case .match, .reset, .accept, .deliver, .close: false
        }
    }

    /// Stops, kills and time-outs between the bytes: the answer still ends at most once, and nothing follows its end.
    private static func anyOrderAtTheCaller(
        _ pieces: [ByteBuffer],
        _ bytes: [UInt8],
        _ random: inout FuzzRandom
    ) throws {
        var receiver = ResponseStreamReceiver(maximumItemSize: 4096)
        if random.oneIn(2) { self.begin(&receiver) }
        var (ends, stops) = (0, 0)
        var isKilled = false
        var fuel = FuzzFuel(bytes)
        for piece in pieces {
            var action: ResponseStreamReceiver.Action?
            switch random.below(24) {
            case 0: if receiver.stop() { stops += 1 }
            case 1:
                _ = receiver.kill()
                isKilled = true
            case 2: action = receiver.lingerEnded()
            case 3: action = receiver.inputClosed("end")
            default: receiver.append(piece)
            }
            repeat {
                if let action {
                    try fuel.burn()
                    try hold(!isKilled, "a killed stream goes on")
                    if case .deliver = action { try hold(ends == 0, "an item behind the end") }
                    if self.endsAnswer(action) { ends += 1 }
                    if case .match = action, !random.oneIn(8) { receiver.matched() }
                }
                action = receiver.next()
            } while action != nil
        }
        try hold(ends <= 1 && stops <= 1, "an answer ends or is stopped twice")
    }

    private static func firstWish(_ pieces: [ByteBuffer]) -> ResponseStreamSender.Action? {
        var sender = ResponseStreamSender()
        _ = sender.accept()
        for piece in pieces { if let action = sender.receive(piece) { return action } }
        return nil
    }

    private static func anyOrderAtTheWorker(_ pieces: [ByteBuffer], _ random: inout FuzzRandom) throws {
        var sender = ResponseStreamSender()
        var cancellations = 0
        var closes = 0
        for piece in pieces {
            let action: ResponseStreamSender.Action?
            let isOver = cancellations + closes > 0
            switch random.below(8) {
            case 0:
                try hold(!sender.accept() || !isOver, "accepts after the end")
                action = nil
            case 1:
                try hold(!sender.refuse() || !isOver, "refuses after the end")
                action = nil
            case 2:
                try hold(!sender.finish() || !isOver, "finishes after the end")
                action = nil
            case 3: action = sender.inputClosed()
            case 4: action = sender.lastFrameWritten()
            default: action = sender.receive(piece)
            }
            switch action {
            case .cancel: cancellations += 1
            case .close: closes += 1
            case .probe: try hold(!isOver, "probes after the end")
            case nil: break
            }
        }
        try hold(cancellations + closes <= 1, "a stream is cancelled or closed twice")
        let rest = sender.connectionClosed("end")
        try hold((rest == nil) == (cancellations + closes == 1), "the end of the connection is reported wrongly")
        try hold(sender.receive(ControlFrame.kill.encoded) == nil, "a closed stream reads")
    }
}
