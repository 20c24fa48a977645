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

/// The shell commands in `docs/request-planes.md` do what it says.
@Suite struct ByHandTests {
    private func block(_ name: String) throws -> Substring {
        let file = TestEnvironment.root.appending(path: "docs/request-planes.md")
        let page = try String(contentsOf: file, encoding: .utf8)
        let start = "<!-- a test runs this block: \(name) -->\n```bash\n"
        let rest = try #require(page.split(separator: start).dropFirst().first, "\(name)")
        return try #require(rest.split(separator: "```").first)
    }

    /// Runs the block that writes a message and the one that sends it.
    private func run(_ name: String, _ environment: [String: String?]) async throws -> String {
        let script = String(try self.block("message") + self.block(name))
        return try await withTemporaryDirectory { folder in
            try await outputOf("bash", ["-c", script], environment: environment, in: folder)
        }
    }

    private func expectAnswer(_ index: Int, _ listener: RawSocket.Listener) async throws {
        let socket = try await listener.connection(index)
        try await eventually("the worker calls home and answers") {
            String(decoding: socket.received.readableBytesView, as: UTF8.self).contains(#""data":{"n":2}"#)
        }
    }

    @Test func tcp() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(handler: items { [.data($0.payload)] })
            try await RawSocket.listen { listener in
                var environment = ["address": instance.transport.value, "answer": "127.0.0.1:\(listener.port)"]
                #expect(try await self.run("tcp", environment) == "accepted\n")
                try await self.expectAnswer(0, listener)
                let target = instance.transport.value.prefix { $0 != "/" }
                environment["address"] = "\(target)/1/nobody"
                let refused = try await self.run("tcp", environment)
                #expect(refused == "Server unavailable: unknown endpoint 1/nobody")
            }
        }
    }

    @Test func http() async throws {
        try await Loopback.runHTTP { loopback in
            let instance = try await loopback.serve(handler: items { [.data($0.payload)] })
            try await RawSocket.listen { listener in
                var environment = ["url": instance.transport.value, "answer": "127.0.0.1:\(listener.port)"]
                let output = try await self.run("http", environment)
                #expect(output.contains("HTTP/1.1 202 Accepted"), "\(output)")
                #expect(output.contains("HTTP/2 202"), "\(output)")
                for index in 0..<2 { try await self.expectAnswer(index, listener) }
                environment["url"] = instance.transport.value + "x"
                let refused = try await self.run("http", environment)
                #expect(refused.contains("HTTP/1.1 404 Not Found") && refused.contains("HTTP/2 404"), "\(refused)")
                #expect(refused.contains("Endpoint not found"))
            }
        }
    }

    @Test func nats() async throws {
        try await NATSServerFixture.run { server in
            let settings = try NATSSettings(server: server.url)
            try await Loopback.run({
                $0.mode = .nats
                $0.nats = settings
            }) { loopback in
                let instance = try await loopback.serve(handler: items { [.data($0.payload)] })
                try await RawSocket.listen { listener in
                    var environment = [
                        "server": "127.0.0.1:\(server.port)", "subject": instance.transport.value,
                        "answer": "127.0.0.1:\(listener.port)",
                    ]
                    let output = try await self.run("nats", environment)
                    #expect(output.hasPrefix("INFO {") && output.contains("max_payload"), "\(output)")
                    #expect(output.contains("MSG reply."), "\(output)")
                    try await self.expectAnswer(0, listener)
                    environment["subject"] = "nobody"
                    let refused = try await self.run("nats", environment)
                    #expect(refused.contains("NATS/1.0 503"), "\(refused)")
                }
            }
        }
    }
}
