import Deployment
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Supervisor

/// Sockets that the launcher opens for a replica.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct PassedSocketTests {
    /// Answers each connection with its own number and the name of the socket, and ends when it has answered so many.
    private static let server = """
        import os, socket
        assert os.environ['LISTEN_PID'] == str(os.getpid()), (os.environ['LISTEN_PID'], os.getpid())
        assert os.environ['LISTEN_FDS'] == '1'
        held = socket.socket(fileno=3)
        print('serving', flush=True)
        connection, _ = held.accept()
        connection.sendall(f"{os.getpid()} {os.environ['LISTEN_FDNAMES']}".encode())
        connection.close()
        """

    private func plan(_ folder: ScratchFolder, port: Int, _ program: String = Self.server) -> Plan {
        var replica = ReplicaPlan.shell(
            "worker",
            #"exec python3 -c "$PROGRAM""#,
            environment: [
                EnvironmentVariable(name: "PROGRAM", value: program, source: .manifest),
                EnvironmentVariable(name: "PATH", value: "/usr/bin:/bin", source: .manifest),
            ],
            ports: [PortPlan(name: "main", port: port, leased: false)],
            restart: RestartPolicy(initialDelay: 0.3, maximumDelay: 0.3, maximumRestarts: nil)
        )
        replica.listens = [ListenPlan(name: "main", address: HTTPAddress(host: "127.0.0.1", port: port))]
        return .test(folder, [replica])
    }

    @Test func `a program gets the socket as descriptor 3 with its own number, and its restart refuses nobody`()
        async throws
    {
        let folder = ScratchFolder()
        let port = try freePort()
        let plan = self.plan(folder, port: port)
        var answers: [String] = []
        try await RunningSupervisor.run(plan) { running in
            try await running.becomesReady()
            // Each answer ends the process; all connections after the first meet one that is not there or just starts.
            for _ in 0..<4 { answers.append(try await Self.ask(port)) }
            let pids = running.pids(of: "worker")
            #expect(answers == pids.prefix(4).map { "\($0) main" })
            #expect(running.text(of: "worker").filter { $0 != "serving" } == [])
        }
        #expect(throws: POSIXError.self) { _ = try Self.connect(port) }
    }

    @Test func `a port that is taken is said, and nothing is started`() async throws {
        let folder = ScratchFolder()
        let port = try freePort()
        let other = try ListeningSocket(port)
        let outcome = try await RunningSupervisor.run(self.plan(folder, port: port)) { try await $0.ends() }
        #expect(outcome.exitCode == 1)
        #expect(outcome.failure?.message.contains("port \(port) (main) is already in use") == true)
        withExtendedLifetime(other) {}
    }

    @Test func `an address that is not this machine's is said`() async throws {
        let folder = ScratchFolder()
        var plan = self.plan(folder, port: try freePort())
        plan.replicas[0].listens[0].address.host = "192.0.2.1"
        plan.replicas[0].restart.condition = .never
        let outcome = try await RunningSupervisor.run(plan) { try await $0.ends() }
        let message = try #require(outcome.failure?.message)
        #expect(message.contains("cannot listen on 192.0.2.1:") && message.contains("Cannot assign"), "\(message)")
    }

    @Test func `a program that is passed nothing hears nothing of it`() async throws {
        let folder = ScratchFolder()
        let plan = Plan.test(
            folder,
            [.shell("worker", #"echo "listen $LISTEN_PID$LISTEN_FDS$LISTEN_FDNAMES."; exec sleep 100"#)]
        )
        try await RunningSupervisor.run(plan) { running in
            try await eventually("it spoke") { running.text(of: "worker") == ["listen ."] }
        }
    }

    // MARK: Clients

    /// Connects and reads to the end.
    private static func ask(_ port: Int) async throws -> String {
        let descriptor = try self.connect(port)
        defer { close(descriptor) }
        let text = Mutex("")
        try await eventually("an answer came") {
            var bytes = [UInt8](repeating: 0, count: 256)
            let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            if count > 0 { text.withLock { $0 += String(decoding: bytes.prefix(count), as: UTF8.self) } }
            return count == 0
        }
        return text.withLock { $0 }
    }

    private static func connect(_ port: Int) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        let result = Self.withAddress(port) { Glibc.connect(descriptor, $0, $1) }
        guard result == 0 else {
            let error = POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
            close(descriptor)
            throw error
        }
        return descriptor
    }

    fileprivate static func withAddress(_ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}

/// A socket that listens for as long as it lives.
private final class ListeningSocket {
    private let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)

    init(_ port: Int) throws {
        let result = PassedSocketTests.withAddress(port) { bind(self.descriptor, $0, $1) }
        try #require(result == 0 && listen(self.descriptor, 1) == 0)
    }

    deinit { close(self.descriptor) }
}
