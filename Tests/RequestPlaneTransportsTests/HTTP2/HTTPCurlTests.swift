import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The plane as a person sees it with curl.
@Suite struct HTTPCurlTests {
    @Test(arguments: ["--http1.0", "--http1.1", "--http2", "--http2-prior-knowledge"])
    func bodies(_ version: String) async throws {
        try await withTemporaryDirectory { folder in
            try await Loopback.runHTTP({ $0.http.maximumBodySize = 9_000_000 }) { loopback in
                let instance = try await loopback.serve(handler: items { _ in [.data(ByteBuffer(string: "1"))] })
                for (size, status) in [(10, "202"), (8_000_000, "202"), (10_000_000, "413")] {
                    let body = requestBody(body: String(repeating: "1", count: size))
                    let file = folder.appending(path: "body")
                    try Data(body.readableBytesView).write(to: file)
                    // Twice over one connection, with an expectation as curl sends it for large bodies.
                    let one = [
                        "-sS", "-o", "/dev/null", "-w", "%{http_code} ", version, "--data-binary", "@body",
                        instance.transport.value,
                    ]
                    // This curl breaks off its second request with prior knowledge, against Dynamo's servers too.
                    let isRepeated = version != "--http2-prior-knowledge"
                    let output = try await outputOf("curl", isRepeated ? one + ["--next"] + one : one, in: folder)
                    #expect(output == (isRepeated ? "\(status) \(status) " : "\(status) "), "\(size) bytes")
                }
            }
        }
    }

    @Test func otherMethods() async throws {
        try await withTemporaryDirectory { folder in
            try await Loopback.runHTTP { loopback in
                let instance = try await loopback.serve(handler: items { _ in [.data(ByteBuffer(string: "1"))] })
                for version in ["--http1.1", "--http2-prior-knowledge"] {
                    for (method, status) in [("GET", "405"), ("PUT", "405"), ("OPTIONS", "204"), ("DELETE", "405")] {
                        let output = try await outputOf(
                            "curl",
                            ["-sS", "-i", version, "-X", method, instance.transport.value],
                            in: folder
                        )
                        #expect(output.contains(" \(status)"), "\(output)")
                        #expect(output.contains("allow: POST"), "\(output)")
                    }
                }
            }
        }
    }
}
