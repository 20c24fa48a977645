import Foundation
import Gateway
import Glibc
import Logging
import TestSupport
import Testing

/// Two processes that have the same sockets, of which one at a time accepts connections.
@Suite struct TakingTurnsTests {
    private static let logger = Logger(label: "turns") { _ in SwiftLogNoOpLogHandler() }

    @Test func `one that waits for its turn accepts nothing until then, and the other one nothing after it`()
        async throws
    {
        try await withTemporaryDirectory { folder in
            let (old, new) = (try await TestBackend { _ in .text("old") }, try await TestBackend { _ in .text("new") })
            let path = folder.appending(path: "port.sock").path()
            let sockets = try ListeningSockets(opening: [.unix(path: path)])
            defer { sockets.close(removingFiles: true) }
            let socket = try #require(sockets.descriptors.first)
            func gateway() -> Gateway {
                let copy = fcntl(socket, F_DUPFD_CLOEXEC, 0)
                let listener = GatewayListener.inherited(descriptor: copy, name: "test")
                return Gateway(GatewayConfiguration(listeners: [listener]), logger: Self.logger)
            }
            func answers() async throws -> Set<String> {
                var answers: Set<String> = []
                for _ in 0..<50 {
                    let client = try RawClient(path: path)
                    try client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    answers.insert(String(await client.receiveAll(within: .seconds(20)).text.suffix(3)))
                }
                return answers
            }
            let (first, second) = (gateway(), gateway())
            try await first.bind()
            try await second.bind(isAccepting: false)
            first.setBackends([old.backend])
            second.setBackends([new.backend])
            try await withThrowingTaskGroup(of: Void.self) { group in
                for gateway in [first, second] { group.addTask { await gateway.run() } }
                let before = try await answers()
                #expect(before == ["old"])
                await first.stopAccepting()
                await second.beginAccepting()
                let after = try await answers()
                #expect(after == ["new"])
                group.cancelAll()
            }
        }
    }

    @Test func `one whose launcher is gone before it was its turn accepts by itself`() async throws {
        try await withTemporaryDirectory { folder in
            let backend = try await TestBackend { _ in .text("hello") }
            let (path, control) = (folder.appending(path: "port.sock").path(), folder.appending(path: "control").path())
            let sockets = try ListeningSockets(opening: [.unix(path: path)])
            let configuration = GatewayConfiguration(
                listeners: [.inherited(descriptor: try #require(sockets.descriptors.first), name: "test")]
            )
            let gateway = Gateway(configuration, logger: Self.logger)
            let server = GatewayControlServer(
                gateway,
                GatewayProcessConfiguration(
                    gateway: configuration,
                    identity: configuration.identity,
                    socketFiles: [path],
                    controlSocket: control,
                    awaitsTurn: true
                ),
                lines: GatewayLines()
            )
            try await gateway.bind(isAccepting: false)
            try await server.bind()
            gateway.setBackends([backend.backend])
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await server.run() }
                let client = try RawClient(path: path)
                try client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                let launcher = try RawClient(path: control)
                let greeting = await launcher.receive(within: .seconds(20)) { $0.contains("hello") }.text
                #expect(greeting.contains("hello"))
                #expect(gateway.status.connections == 0, "it is not its turn")
                launcher.endOutput()
                #expect(await client.receiveAll(within: .seconds(20)).text.hasSuffix("hello"))
                group.cancelAll()
            }
        }
    }
}
