import Discovery
import FuzzSupport
import NIOCore
import RequestPlane
import Testing

/// What stands in the store was written by others: keys, JSON and records of every shape end in a defined way.
@Suite struct DiscoveryFuzzTests {
    @Test func records() throws {
        let entries = try DiscoveryFixture.captures.flatMap { try DiscoveryFixture.entries($0) }
        let seeds =
            Set(entries.map(\.record.bytes)).sorted { $0.lexicographicallyPrecedes($1) }
            + entries.compactMap { $0.file.map { Array($0.utf8) } } + Self.seeds
        let report = try FuzzDriver.fromEnvironment(FuzzTarget("discovery", seeds: seeds, check: Self.check))
        print(report)
        #expect(report.inputs > 0)
    }

    private static let seeds = [
        #"{"type":"Endpoint","component":"c","endpoint":"e","namespace":"n","instance_id":18446744073709551615,"transport":{"nats_tcp":"n_c.e-1"},"device_type":"cuda","request_plane_codec":"msgpack"}"#,
        #"{"type":"Model","namespace":"n","component":"c","endpoint":"e","instance_id":1,"card_json":{"display_name":"M/x","slug":"m_x","context_length":1.0,"model_type":"Chat | Prefill"},"model_suffix":"l"}"#,
        "dynamo%2Fbackend%2Fgenerate%2F1d5488c866544b8b", "%C3%A9%2f", "v1/instances/a/b/c/1",
        #"{"a":[1,-0,1.5e-7],"b":{"c":null},"":"é\u00e9\ud83d\ude00\/\b\f\n\r\t\"\\"}"#,
    ].map { Array($0.utf8) }

    private static func check(_ bytes: [UInt8], _ random: inout FuzzRandom) throws {
        try self.keys(bytes)
        let parsed: JSONValue?
        do throws(JSONError) { parsed = try JSONValue(parsing: bytes) } catch {
            parsed = nil
            try hold(error.line >= 1 && error.column >= 1 && error.column <= bytes.count + 1, "a fault at no place")
        }
        try self.sameGrammar(bytes, isJSON: parsed != nil)
        if let parsed {
            // Compared as bytes: strings that differ only in their form of Unicode are equal in Swift.
            let again = try JSONValue(parsing: parsed.bytes)
            try hold(again.bytes == parsed.bytes, "a value changes on its way")
        }
        for bucket in DiscoveryBucket.allCases {
            guard let record = try? DiscoveryRecord(bucket: bucket, bytes: bytes) else { continue }
            let again = try DiscoveryRecord(bucket: bucket, bytes: record.json.bytes)
            try hold(again == record, "a record changes on its way")
            try hold(again.key == record.key && record.namespace == again.namespace, "a key changes on its way")
            let name = record.key.fileName
            try hold(DiscoveryKey(bucket: bucket, fileName: name) == record.key, "a file name changes on its way")
            guard case .model(let model) = record else { continue }
            let card = model.card
            _ = (card.displayName, card.contextLength, card.kvCacheBlockSize, card.migrationLimit, card.input)
            let slug = ModelCard.slug(of: card.displayName ?? "")
            try hold(ModelCard.slug(of: slug) == slug, "a slug is not the slug of itself")
            try hold(ModelCard.Kind(text: card.kind.text) == card.kind, "a kind changes on its way")
        }
    }

    private static func keys(_ bytes: [UInt8]) throws {
        let text = String(decoding: bytes, as: UTF8.self)
        let key = DiscoveryKey(bucket: .models, path: text)
        try hold(key.fileName.utf8.allSatisfy { $0 < 0x80 && $0 != UInt8(ascii: "/") }, "a name that is no file name")
        try hold(
            DiscoveryKey(bucket: .models, fileName: key.fileName).map { Array($0.path.utf8) } == Array(text.utf8),
            "a key changes on its way"
        )
        guard let read = DiscoveryKey(bucket: .models, fileName: text) else { return }
        try hold(DiscoveryKey(bucket: .models, fileName: read.fileName) == read, "a file name changes on its way")
    }

    /// The two readers of JSON take the same texts, but for what they state to do differently.
    private static func sameGrammar(_ bytes: [UInt8], isJSON: Bool) throws {
        let buffer = ByteBuffer(bytes: bytes)
        let span = buffer.readableBytesUInt8Span
        var scanner = JSONScanner()
        let isScanned = (try? scanner.skipValue(span)) != nil && (try? scanner.finish(span)) != nil
        if isJSON { return try hold(isScanned, "the scanner refuses what the parser takes") }
        guard isScanned else { return }
        // The scanner does not look into strings and takes deeper nesting.
        let isPlain = !bytes.contains { $0 >= 0x80 } && !bytes.contains(UInt8(ascii: "\\"))
        var (depth, deepest) = (0, 0)
        for byte in bytes {
            if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") { depth += 1 }
            if byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") { depth -= 1 }
            deepest = max(deepest, depth)
        }
        try hold(!isPlain || deepest > 100, "the parser refuses what the scanner takes")
    }

    // MARK: Findings

    @Test(arguments: [#""\u-000""#, #""\u+0a0""#, #""\u 123""#, #""\u12""#])
    func unicodeEscapesAreHexadecimal(_ text: String) {
        #expect(throws: JSONError.self) { try JSONValue(parsing: text) }
    }

    @Test(arguments: ["%+A", "%-0", "% 1", "%4", "%", "a%"])
    func escapesInFileNamesAreHexadecimal(_ name: String) {
        #expect(DiscoveryKey(bucket: .models, fileName: name) == nil)
    }
}
