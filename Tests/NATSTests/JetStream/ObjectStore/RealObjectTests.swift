import Foundation
import NIOCore
import TestSupport
import Testing

@testable import NATS

/// An object that a real 1.2.1 router has written.
@Suite struct RealObjectTests {
    private static let bucket = "namespace-dynamo-component-backend-radix-bucket"
    private static let chunk = """
        CQAAAAAAAACjEmkjbWa70gAAAAAAAAAAAAAAAAAAAAAAAAEAAAAAAAAADtgr2fbh190O2CvZ9uHX3QAAAAAAoxJpI21mu9IAAAAAAQAA\
        AAAAAAAAAAAAAQ7YK9n24dfdAAMAAAAAAAAAK/J2k/sO0fAMdCB+3HFNSACPXlgZt8W1rQH4o40oRIEkAPTb0eRpJjKEBR/vMLjiaSUA\
        AAAAAKMSaSNtZrvSAAAAAAIAAAAAAAAAAAAAAAEO2CvZ9uHX3QADAAAAAAAAAEV4whmckuww4L1cVtVj0TIAMA7wFubSz3kB+KONKESB\
        JABNP8g8nQQPkQUf7zC44mklAAAAAACjEmkjbWa70gAAAAADAAAAAAAAAAAAAAABDtgr2fbh190AAwAAAAAAAAAKY7BQ81jKKaRL9ZEW\
        Ya4dAM4bt31k9asMAfijjShEgSQAS8qhOazrv+0FH+8wuOJpJQAAAAAAoxJpI21mu9IAAAAABAAAAAAAAAAAAAAAAQ7YK9n24dfdAAMA\
        AAAAAAAApVqOTaOd3sO5oONk2yH5FQBiDeHVYYjpeQH4o40oRIEkAPlCWDmrslz0BR/vMLjiaSUAAAAAAKMSaSNtZrvSAAAAAAUAAAAA\
        AAAAAAAAAAEO2CvZ9uHX3QADAAAAAAAAAJSDCgfnNGH+4jQ0lar658cAZZEuMdCb+GoB+KONKESBJACi1mStp2T/UgUf7zC44mklAAAA\
        AACjEmkjbWa70gAAAAAGAAAAAAAAAAAAAAABDtgr2fbh190AAwAAAAAAAADa6y1Pp6JbuEJjHQt1MGeOAG9GbNwnJiZwAfijjShEgSQA\
        OISWhYQG0HkFH+8wuOJpJQAAAAAAoxJpI21mu9IAAAAABwAAAAAAAAAAAAAAAQ7YK9n24dfdAAMAAAAAAAAASJXG9ylVDLpllunArOHe\
        MgDZMxgK0PyvYQH4o40oRIEkAM1A4FgAAV6tBR/vMLjiaSUAAAAAAKMSaSNtZrvSAAAAAAgAAAAAAAAAAAAAAAEO2CvZ9uHX3QADAAAA\
        AAAAAILiXE7lb172e0mY8FyBa8EAmFiFJqknAxYB+KONKESBJADljD1KLUMS+AUf7zC44mklAAAAAAA=
        """
    private static let meta = """
        {"name":"radix-state","description":null,"metadata":{},"headers":null,\
        "options":{"link":null,"max_chunk_size":131072},\
        "bucket":"namespace-dynamo-component-backend-radix-bucket","nuid":"9sGmSsMsiAmeRbcB0qwVTG","size":839,"chunks":1,\
        "mtime":"2026-11-23T11:13:20.345228521Z","digest":"SHA-256=IQI3G-84-EuQbVknX1HRrHbUifkz22DdItAbeNhCKCI="}
        """

    @Test func `is read and checked, and replaced by one of ours`() async throws {
        try await withJetStream { jetStream in
            let store = try await ObjectStore.create(Self.bucket, in: jetStream)
            let content = ByteBuffer(bytes: try #require(Data(base64Encoded: Self.chunk)))
            try await jetStream.publish(
                StreamMessage(subject: "$O.\(Self.bucket).C.9sGmSsMsiAmeRbcB0qwVTG", payload: content)
            )
            try await jetStream.publish(
                StreamMessage(
                    subject: "$O.\(Self.bucket).M.cmFkaXgtc3RhdGU=",
                    headers: ["Nats-Rollup": "sub"],
                    payload: ByteBuffer(string: Self.meta)
                )
            )
            #expect(try await store.get("radix-state") == content)
            try await store.put("radix-state", ByteBuffer(string: "ours"))
            #expect(try await jetStream.stream("OBJ_\(Self.bucket)").state.messages == 2)
            #expect(try await store.get("radix-state") == ByteBuffer(string: "ours"))
        }
    }
}
