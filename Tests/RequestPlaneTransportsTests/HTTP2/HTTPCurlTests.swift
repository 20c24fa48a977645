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
    private func run(
        _ program: String,
        _ arguments: [String],
        environment: [String: String?] = [:],
        in folder: URL
    ) async throws -> String {
        try await withProgram(
            "/usr/bin/env",
            [program] + arguments,
            environment: environment,
            workingDirectory: folder.path
        ) { program in
            try await program.waitForExit()
            return program.output
        }.value
    }

    /// The shell commands in the documentation do what it says.
    @Test func documentedCommands() async throws {
        let page = try String(
            contentsOf: TestEnvironment.root.appending(path: "docs/request-planes.md"),
            encoding: .utf8
        )
        let begin = try #require(page.split(separator: "<!-- a test runs this block -->\n```bash\n").dropFirst().first)
        let script = String(try #require(begin.split(separator: "```").first))
        try await withTemporaryDirectory { folder in
            try await Loopback.runHTTP { loopback in
                let instance = try await loopback.serve(handler: items { [.data($0.payload)] })
                try await RawSocket.listen { listener in
                    let environment = ["url": instance.transport.value, "answer": "127.0.0.1:\(listener.port)"]
                    let output = try await self.run("bash", ["-c", script], environment: environment, in: folder)
                    #expect(output.contains("HTTP/1.1 202 Accepted"), "\(output)")
                    #expect(output.contains("HTTP/2 202"), "\(output)")
                    for index in 0..<2 {
                        let socket = try await listener.connection(index)
                        try await eventually("the worker calls home and answers") {
                            String(decoding: socket.received.readableBytesView, as: UTF8.self).contains(
                                #""data":{"n":2}"#
                            )
                        }
                    }
                    let unknown = environment.merging(["url": instance.transport.value + "x"]) { $1 }
                    let refused = try await self.run("bash", ["-c", script], environment: unknown, in: folder)
                    #expect(refused.contains("HTTP/1.1 404 Not Found") && refused.contains("HTTP/2 404"), "\(refused)")
                    #expect(refused.contains("Endpoint not found"))
                }
            }
        }
    }

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
                    let output = try await self.run("curl", isRepeated ? one + ["--next"] + one : one, in: folder)
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
                        let output = try await self.run(
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
