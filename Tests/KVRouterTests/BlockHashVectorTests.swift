import Discovery
import Testing

@testable import KVRouter

@Suite("Vectors of block hashes, as 1.2.1 computes them")
struct BlockHashVectorTests {
    @Test("all 23 vectors")
    func vectors() throws {
        let vectors = try #require(JSONValue(parsing: KVFixture.load("block-hash-vectors.json"))["vectors"]?.array)
        #expect(vectors.count == 23)
        for vector in vectors {
            let name = vector["name"]?.string ?? "?"
            let size = try #require(vector["block_size"]?.int, "\(name)")
            let hashing = BlockHashing(
                blockSize: size,
                lora: vector["lora_name"]?.string,
                eagle: vector["is_eagle"]?.bool ?? false
            )
            let tokens = try #require(vector["tokens"]?.array, "\(name)").map { UInt32($0.int ?? 0) }
            let objects = (vector["block_mm_infos"]?.array ?? []).map { block in
                (block["mm_objects"]?.array ?? []).map { $0["mm_hash"]?.uint64 ?? 0 }
            }
            let hashes = hashing.hashes(tokens, objects: objects)
            #expect(hashes.map { "\($0.rawValue)" } == vector["tokens_hash"]?.array?.compactMap(\.string), "\(name)")
            let chained = BlockHashing.chained(hashes).map { "\($0.rawValue)" }
            #expect(chained == vector["sequence_hash"]?.array?.compactMap(\.string), "\(name)")
        }
    }
}
