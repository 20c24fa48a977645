import NIOCore
import RequestPlane

/// Frames of a response stream, and what stands in them.
enum FrameFuzzing {
    private static let (maximumHeader, maximumBody) = (1024, 4096)

    static func frames(_ bytes: [UInt8], _ random: inout FuzzRandom) throws {
        let whole = try self.decode([ByteBuffer(bytes: bytes)], bytes)
        let cut = try self.decode(pieces(of: bytes, &random), bytes)
        try hold(whole.messages == cut.messages, "the frames depend on how the bytes are cut")
        try hold(whole.error == cut.error, "the error depends on how the bytes are cut")
        for message in whole.messages { try self.content(of: message) }
        // Most damage is to a length; the content is looked at all the same.
        if bytes.count > TwoPartMessage.preambleSize {
            let rest = ByteBuffer(bytes: bytes.dropFirst(TwoPartMessage.preambleSize))
            try self.content(of: TwoPartMessage(header: rest))
            try self.content(of: TwoPartMessage(body: rest))
        }
    }

    private static func decode(
        _ pieces: [ByteBuffer],
        _ bytes: [UInt8]
    ) throws -> (messages: [TwoPartMessage], error: WireError?) {
        var decoder = TwoPartDecoder(maximumHeaderSize: self.maximumHeader, maximumBodySize: self.maximumBody)
        var messages: [TwoPartMessage] = []
        var fuel = FuzzFuel(bytes)
        var (received, taken) = (0, 0)
        for piece in pieces {
            decoder.append(piece)
            received += piece.readableBytes
            do throws(WireError) {
                while let message = try decoder.next() {
                    messages.append(message)
                    taken += message.encodedSize
                }
            } catch { return (messages, error) }
            try fuel.burn()
            try hold(decoder.heldBytes == received - taken, "the decoder holds more or less than it was given")
        }
        for message in messages {
            try hold(message.header.readableBytes <= self.maximumHeader, "a header above the limit was decoded")
            try hold(message.body.readableBytes <= self.maximumBody, "a body above the limit was decoded")
        }
        return (messages, nil)
    }

    static func content(of message: TwoPartMessage) throws {
        if let handshake = try? Handshake(message) {
            try hold(try Handshake(self.message(handshake.encoded)) == handshake, "a handshake changes on its way")
        }
        if let prologue = try? Prologue(message) {
            try hold(try Prologue(self.message(prologue.encoded)) == prologue, "a prologue changes on its way")
        }
        if let control = ControlFrame(message) {
            try hold(try ControlFrame(self.message(control.encoded)) == control, "a control frame changes on its way")
        }
        if let error = RemoteError(json: message.body) {
            var encoded = ByteBuffer()
            encoded.writeRemoteError(error)
            try hold(RemoteError(json: encoded) == error, "an error changes on its way")
        }
        guard let frame = try? ItemFrame(message.body) else { return }
        try hold(frame.items.count <= 2 && (frame.isFinal || !frame.items.isEmpty), "an impossible item frame")
        for item in frame.items {
            var encoded = ByteBuffer()
            encoded.writeItemFrame(item)
            let again = try ItemFrame(self.message(encoded).body)
            try hold(again == ItemFrame(items: [item], isFinal: false), "an item changes on its way: \(item), \(again)")
        }
    }

    private static func message(_ encoded: ByteBuffer) throws -> TwoPartMessage {
        let message = try TwoPartMessage(payload: encoded)
        try hold(message.encodedSize == encoded.readableBytes, "an encoded frame has bytes behind it")
        return message
    }
}
