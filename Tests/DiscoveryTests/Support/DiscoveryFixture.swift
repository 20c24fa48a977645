import Discovery
import FoundationEssentials

/// The captured records of real processes.
enum DiscoveryFixture {
    struct Entry {
        /// Relative to the root, as the file backend names it; nil in captures of etcd.
        var file: String?
        var key: String
        var record: JSONValue
    }

    static func load(_ name: String) throws -> JSONValue {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Fixtures").appending(path: name)
        return try JSONValue(parsing: Data(contentsOf: file))
    }

    /// The instance and model records of a capture.
    static func entries(_ name: String) throws -> [Entry] {
        let capture = try self.load(name)
        let entries = (capture["records"] ?? capture["keys"])?.array ?? []
        return entries.compactMap { entry in
            guard let key = entry["key"]?.string, let record = entry["record"] ?? entry["value"],
                DiscoveryBucket.allCases.contains(where: { key.hasPrefix($0.rawValue) })
            else { return nil }
            return Entry(file: entry["file"]?.string, key: key, record: record)
        }
    }

    static let captures = [
        "discovery-file-1.0.2-tcp-nats.json", "discovery-file-1.2.1-tcp-nats.json", "discovery-file-1.2.1-tcp-zmq.json",
        "discovery-file-1.6.1-tcp-nats.json", "discovery-file-1.6.1-tcp-zmq.json", "discovery-etcd-1.2.1.json",
        "discovery-etcd-1.6.1.json",
    ]
}
