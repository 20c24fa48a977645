import NIOCore
import RequestPlane

/// The scanner, and everything that is read with it.
enum JSONFuzzing {
    static let seeds: [[UInt8]] = [
        #"{"a":[1,-0,1.5e-7,0.0E+1],"b":{"c":null},"d":true,"e":false,"":"é\u00e9\ud83d\ude00\/\b\f\n\r\t\"\\"}"#,
        #"["a","b","\u0000","","😀"]"#,
        #""text""#,
        " [ ] ",
        #"{"data":{"event":"note","comment":["a","b"],"data":{"n":1}},"complete_final":false}"#,
        #"{"data":{"event":"error","error":{"error_type":{"Backend":"Unknown"},"message":"m"}},"complete_final":true}"#,
    ].map { Array($0.utf8) }

    static func text(_ bytes: [UInt8], _ random: inout FuzzRandom) throws {
        // The scanner must not look beyond the buffer it was given, which may be a part of a larger one.
        var padded = ByteBuffer(string: #""\u12"#)
        padded.writeBytes(bytes)
        padded.writeString(#"00"}]"#)
        guard let buffer = padded.getSlice(at: 5, length: bytes.count) else { return }

        let isValue = self.isValue(buffer)
        if let object = try? JSONObject(buffer) {
            try hold(isValue, "an object is read from text that is no value")
            for key in object.keys {
                guard let value = object[key] else { throw FuzzViolation("a key without a value") }
                try hold(self.isValue(value), "a member's value is not a value")
                try hold(value.readableBytes <= bytes.count, "a member is larger than its object")
                if let text = object.string(key) { try self.text(text) }
                _ = object.strings(key)
                _ = object.object(key)
                _ = object.isNull(key)
            }
        }
        if let text = JSONObject.string(buffer) {
            try hold(isValue, "a string is read from text that is no value")
            try self.text(text)
        }
        if let texts = JSONObject.strings(buffer) {
            try hold(isValue, "an array is read from text that is no value")
            for text in texts { try self.text(text) }
        }
        try FrameFuzzing.content(of: TwoPartMessage(body: buffer))
        try FrameFuzzing.content(of: TwoPartMessage(header: buffer))
        if let control = try? ControlHeader(buffer) {
            try hold(isValue && (try? ControlHeader(control.encode())) == control, "a control header changes")
        }
        if let address = try? CallHomeAddress(info: String(buffer: buffer)) {
            try hold((try? CallHomeAddress(info: address.encode())) == address, "a call-home address changes")
        }
        let headers = TCPRequestFrame.decodeHeaders(buffer)
        try hold(TCPRequestFrame.decodeHeaders(.jsonObject(headers)) == headers, "headers change on their way")
    }

    private static func isValue(_ buffer: ByteBuffer) -> Bool {
        let bytes = buffer.readableBytesUInt8Span
        var scanner = JSONScanner()
        guard (try? scanner.skipValue(bytes)) != nil else { return false }
        return (try? scanner.finish(bytes)) != nil
    }

    private static func text(_ text: String) throws {
        var encoded = ByteBuffer()
        encoded.writeJSONString(text)
        try hold(JSONObject.string(encoded).map { Array($0.utf8) } == Array(text.utf8), "a string changes on its way")
    }
}
