import FoundationEssentials

/// What was captured from real Dynamo processes.
enum KVFixture {
    static func load(_ name: String) throws -> Data {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Fixtures").appending(path: name)
        return try Data(contentsOf: file)
    }
}
