import NATS
import RequestPlaneTransports

/// Headers of a NATS message, and the request that they become.
enum NATSHeaderFuzzing {
    static let seeds = [
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\nx-request-id: 7f\ntracestate: a=b,c=d",
        "Nats-Msg-Id: 1\nnats-msg-id: 2\nNats-Msg-Id: 3\nempty:\n: nameless\nx:  spaces  \nx\ty: tab\r\n",
        "x-dynamo-request-id: \u{E9}\u{1F680}\ne\u{301}: 1\n\u{E9}: 2\na:b:c\nStatus: 503\nDescription: No Responders",
    ].map { Array($0.utf8) }

    static func headers(_ bytes: [UInt8], _ random: inout FuzzRandom) throws {
        let received = self.received(bytes)
        let fields = received.requestFields
        try hold(fields.count <= received.fields.count, "a header is invented")
        for field in received.fields {
            guard let value = fields[field.name] else { throw FuzzViolation("the header '\(field.name)' is lost") }
            try hold(value == received.values(field.name).last, "'\(field.name)' has not its last value")
        }
        var changed = received
        let name = received.fields.isEmpty ? "x" : received.fields[random.below(received.fields.count)].name
        changed[name] = "v"
        try hold(changed.values(name) == ["v"] && changed[name] == "v", "setting '\(name)' does not replace its values")

        let sent = NATSHeaders(request: fields)
        try hold(sent.requestFields == fields.filter { !$0.value.isEmpty }, "headers change on their way")
        try self.wire(sent)
    }

    /// The fields of an input: one on each line, as the C library hands them over, which ends texts at a zero byte.
    private static func received(_ bytes: [UInt8]) -> NATSHeaders {
        var headers = NATSHeaders()
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            let parts = line.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
            let texts = parts.map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            headers.add(texts[0], texts.count > 1 ? texts[1] : "")
        }
        return headers
    }

    /// What passes the check takes one line for each header, whose size is the one that counts against the server's limit.
    private static func wire(_ headers: NATSHeaders) throws {
        guard !headers.isEmpty, (try? headers.validate()) != nil else { return }
        var block = Array("NATS/1.0\r\n".utf8)
        for field in headers.fields { block += Array("\(field.name): \(field.value)\r\n".utf8) }
        block += Array("\r\n".utf8)
        try hold(block.count == headers.encodedSize, "headers take \(block.count) bytes, not \(headers.encodedSize)")
        try hold(!block.contains(0), "a zero byte passes")
        let lines = block.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        try hold(lines.count == headers.fields.count + 3, "a header breaks out of its line")
        for (line, field) in zip(lines.dropFirst(), headers.fields) {
            let parts = line.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
            try hold(parts.count == 2 && parts[0].elementsEqual(field.name.utf8), "a name is read as another")
            try hold(line.last == UInt8(ascii: "\r"), "a line does not end as one")
            try hold(parts[1].dropFirst().dropLast().elementsEqual(field.value.utf8), "a value is read as another")
        }
    }
}
