import Discovery
import Testing

@Suite("Keys as file names")
struct DiscoveryKeyTests {
    @Test(
        "everything but letters and digits is escaped",
        arguments: [
            (
                "dynamo/backend/worker_kv_indexer_query_dp0/e511720536d2b9ef",
                "dynamo%2Fbackend%2Fworker%5Fkv%5Findexer%5Fquery%5Fdp0%2Fe511720536d2b9ef"
            ),
            ("My-Ns/Comp.X", "My%2DNs%2FComp%2EX"), ("é", "%C3%A9"), ("a\u{1}", "a%01"), ("", ""),
        ]
    )
    func escape(path: String, name: String) throws {
        let key = DiscoveryKey(bucket: .models, path: path)
        #expect(key.fileName == name)
        #expect(DiscoveryKey(bucket: .models, fileName: name) == key)
        #expect(DiscoveryKey(bucket: .models, fileName: name.lowercased())?.path.lowercased() == path.lowercased())
    }

    @Test("broken names are no keys", arguments: ["%", "%2", "%zz", "%FF"])
    func broken(name: String) { #expect(DiscoveryKey(bucket: .models, fileName: name) == nil) }
}
