import Foundation
import NIOCore
import Testing

@testable import NATS

@Suite struct ObjectInfoTests {
    /// What a real 1.2.1 router has written.
    private static let real = """
        {"name":"radix-state","description":null,"metadata":{},"headers":null,\
        "options":{"link":null,"max_chunk_size":131072},\
        "bucket":"namespace-dynamo-component-backend-radix-bucket","nuid":"9sGmSsMsiAmeRbcB0qwVTG","size":839,"chunks":1,\
        "mtime":"2026-11-23T11:13:20.345228521Z","digest":"SHA-256=IQI3G-84-EuQbVknX1HRrHbUifkz22DdItAbeNhCKCI="}
        """

    @Test func `what describes an object is written as Dynamo writes it`() throws {
        let info = try JSONDecoder().decode(ObjectInfo.self, from: Data(Self.real.utf8))
        #expect(info.size == 839 && info.chunks == 1 && info.chunkSize == 131_072 && !info.isLink && !info.isDeleted)
        let ours = try JSONSerialization.jsonObject(with: Data(JetStreamJSON.encode(info).readableBytesView))
        let theirs = try JSONSerialization.jsonObject(with: Data(Self.real.utf8))
        #expect(ours as? NSDictionary == theirs as? NSDictionary)
    }

    @Test func `the time is of RFC 3339`() {
        let time = ObjectInfo(name: "n", bucket: "b", version: "v", chunkSize: 1).modified
        #expect(time.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z/) != nil, "\(time)")
    }

    @Test func `names are written in base64 with padding`() {
        #expect(ObjectDigest.base64(Array("radix-state".utf8)) == "cmFkaXgtc3RhdGU=")
        #expect(ObjectDigest.base64([0xFB, 0xFF, 0xBF]) == "-_-_")
    }

    @Test func `a digest with and without padding`() {
        var digest = ObjectDigest()
        digest.add(ByteBuffer(string: "abc"))
        #expect(digest.text == "SHA-256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0=")
        #expect(digest.matches("SHA-256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"))
        #expect(!digest.matches("SHA-256=vngWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0="))
    }
}
