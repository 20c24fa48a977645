import NIOCore
import RequestPlane

// The request connection: frames and acknowledgements.

extension FuzzTarget {
    /// Every family of wire decoders.
    ///
    /// - Returns: the targets, each for a run of its own.
    /// - Throws: when the captures cannot be read.
    package static func wire() throws -> [FuzzTarget] {
        let frames = try FuzzCorpus.wire()
        let texts = frames.compactMap { bytes -> [UInt8]? in
            // The JSON parts of the captures begin at braces.
            bytes.firstIndex(of: UInt8(ascii: "{")).map { Array(bytes[$0...]) }
        }
        let streams = try FuzzCorpus.responseStreams()
        return [
            FuzzTarget("requests", seeds: frames, check: RequestFuzzing.requests),
            FuzzTarget("acknowledgements", seeds: frames, check: RequestFuzzing.acknowledgements),
            FuzzTarget("frames", seeds: frames + streams, check: FrameFuzzing.frames),
            FuzzTarget("streams", seeds: streams + frames, check: StreamFuzzing.streams),
            FuzzTarget("text", seeds: texts + JSONFuzzing.seeds, check: JSONFuzzing.text),
        ]
    }
}

enum RequestFuzzing {
    private static let limit = 4096

    static func requests(_ bytes: [UInt8], _ random: inout FuzzRandom) throws {
        let whole = try self.decode([ByteBuffer(bytes: bytes)], bytes)
        let cut = try self.decode(pieces(of: bytes, &random), bytes)
        try hold(whole.frames == cut.frames, "the frames depend on how the bytes are cut")
        try hold(whole.error == cut.error, "the error depends on how the bytes are cut")

        var machine = TCPServerConnection(maximumMessageSize: self.limit)
        machine.append(ByteBuffer(bytes: bytes))
        var fuel = FuzzFuel(bytes)
        for frame in whole.frames {
            try fuel.burn()
            let expected = frame.pathText.map { TCPServerConnection.Action.dispatch(path: $0, frame) }
            try hold(machine.next() == (expected ?? .refuse("Invalid endpoint path")), "the machine skips a frame")
            try self.payload(of: frame)
        }
        let last = machine.next()
        if let error = whole.error {
            try hold(last == .refuseAndClose("Read error: \(error)"), "the machine does not report an error")
            machine.append(ByteBuffer(bytes: bytes))
            try hold(machine.next() == nil && !machine.isInsideFrame, "the machine reads after an error")
        } else {
            try hold(last == nil, "the machine invents a frame")
        }
    }

    private static func decode(
        _ pieces: [ByteBuffer],
        _ bytes: [UInt8]
    ) throws -> (frames: [TCPRequestFrame], error: WireError?) {
        var decoder = TCPRequestDecoder(limit: self.limit)
        var frames: [TCPRequestFrame] = []
        var fuel = FuzzFuel(bytes)
        var (received, taken) = (0, 0)
        for piece in pieces {
            decoder.append(piece)
            received += piece.readableBytes
            do throws(WireError) {
                while let frame = try decoder.next() {
                    frames.append(frame)
                    taken += frame.encodedSize
                }
            } catch { return (frames, error) }
            try fuel.burn()
            try hold(decoder.heldBytes == received - taken, "the decoder holds more or less than it was given")
        }
        try hold(taken <= bytes.count, "the frames are larger than the input")
        // What was decoded is what was there, byte for byte.
        var again = ByteBuffer()
        for frame in frames {
            try hold(frame.encodedSize <= self.limit, "a frame above the limit was decoded")
            again.writeInteger(UInt16(frame.path.readableBytes))
            again.writeImmutableBuffer(frame.path)
            again.writeInteger(UInt16(frame.headers.readableBytes))
            again.writeImmutableBuffer(frame.headers)
            again.writeInteger(UInt32(frame.payload.readableBytes))
            again.writeImmutableBuffer(frame.payload)
        }
        try hold(again.readableBytesView.elementsEqual(bytes.prefix(taken)), "decoding and encoding changes a frame")
        return (frames, nil)
    }

    /// What a server reads of a request after its acknowledgement.
    private static func payload(of frame: TCPRequestFrame) throws {
        let headers = frame.decodedHeaders
        try hold(
            TCPRequestFrame.decodeHeaders(ByteBuffer.jsonObject(headers)) == headers,
            "headers change on their way"
        )
        guard let message = try? TwoPartMessage(payload: frame.payload) else { return }
        try hold(message.encodedSize <= frame.payload.readableBytes, "a message is larger than its payload")
        var encoded = ByteBuffer()
        encoded.writeTwoPartMessage(message)
        try hold((try? TwoPartMessage(payload: encoded)) == message, "a two-part message changes on its way")
        guard let control = try? ControlHeader(message.header) else { return }
        try hold((try? ControlHeader(control.encode())) == control, "a control header changes on its way")
        guard let address = try? CallHomeAddress(info: control.info) else { return }
        try hold((try? CallHomeAddress(info: address.encode())) == address, "a call-home address changes on its way")
        let request = try EncodedTCPRequest(
            path: frame.pathText ?? "",
            headers: headers,
            control: control,
            body: message.body
        )
        var decoder = TCPRequestDecoder(limit: request.size)
        decoder.append(request.head)
        decoder.append(request.body)
        let again = try decoder.next()
        try hold(again?.decodedHeaders == headers && decoder.isBetweenFrames, "an encoded request changes on its way")
    }

    static func acknowledgements(_ bytes: [UInt8], _ random: inout FuzzRandom) throws {
        let limit = 256
        let whole = try self.acknowledgements([ByteBuffer(bytes: bytes)], bytes, limit: limit)
        let parts = pieces(of: bytes, &random)
        let cut = try self.acknowledgements(parts, bytes, limit: limit)
        try hold(whole.found == cut.found, "the acknowledgements depend on how the bytes are cut")
        try hold(whole.error == cut.error, "the error depends on how the bytes are cut")
        for acknowledgement in whole.found {
            var encoded = ByteBuffer()
            encoded.writeTCPAcknowledgement(acknowledgement)
            var decoder = TCPAcknowledgementDecoder(limit: encoded.readableBytes)
            decoder.append(encoded)
            try hold(try decoder.next() == acknowledgement, "an acknowledgement changes on its way")
            try hold((acknowledgement == .accepted) == (acknowledgement.failure == nil), "a refusal without a failure")
        }

        // Requests are completed in order, each once, by the acknowledgements in order.
        var connection = TCPClientConnection(capacity: 4, maximumAcknowledgementSize: limit)
        var expected: [TCPClientConnection.Token] = []
        for _ in 0..<random.below(6) {
            if let token = connection.send(deadline: .now()) { expected.append(token) }
        }
        try hold(connection.pendingCount <= 4, "more requests than the capacity")
        var fuel = FuzzFuel(bytes)
        for part in parts {
            connection.append(part)
            while let action = connection.next() {
                try fuel.burn()
                switch action {
                case .complete(let token, _):
                    try hold(!expected.isEmpty && expected.removeFirst() == token, "completed out of order")
                case .fail(let tokens, _):
                    try hold(tokens == expected, "the wrong requests have failed")
                    expected = []
                case .close: throw FuzzViolation("a connection that was not retired is closed")
                }
            }
        }
        try hold(connection.pendingCount == expected.count, "a request was forgotten")
    }

    private static func acknowledgements(
        _ pieces: [ByteBuffer],
        _ bytes: [UInt8],
        limit: Int
    ) throws -> (found: [TCPAcknowledgement], error: WireError?) {
        var decoder = TCPAcknowledgementDecoder(limit: limit)
        var found: [TCPAcknowledgement] = []
        var received = 0
        var fuel = FuzzFuel(bytes)
        for piece in pieces {
            decoder.append(piece)
            received += piece.readableBytes
            do throws(WireError) {
                while let acknowledgement = try decoder.next() { found.append(acknowledgement) }
            } catch { return (found, error) }
            try fuel.burn()
            try hold(decoder.heldBytes <= min(received, limit + 4), "the decoder holds more than a frame")
        }
        return (found, nil)
    }
}
