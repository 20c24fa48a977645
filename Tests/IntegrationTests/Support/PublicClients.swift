import Foundation
import Synchronization
import TestSupport

/// Clients of a public port that go on until they are told to end, and keep count of what becomes of their requests.
final class PublicClients: Sendable {
    /// What the clients have seen.
    struct Counts: Sendable {
        var answered = 0
        /// Connections that were not accepted, or refused, while the port had to be open.
        var refused: [String] = []
        /// Requests without a whole answer of 200.
        var lost: [String] = []
        /// Requests that were sent once more, as HTTP permits.
        var repeated = 0
    }

    private struct State: Sendable {
        var counts = Counts()
        var isOver = false
        var isOpen = true
    }

    private let state = Mutex(State())
    private let port: Int

    /// Between two requests of one client.
    private static let pause = Duration.milliseconds(20)
    /// For one answer, a restart of the deployment included.
    private static let patience = Duration.seconds(20)

    init(port: Int) { self.port = port }

    var counts: Counts { self.state.withLock { $0.counts } }

    private func count(_ body: (inout Counts) -> Void) { self.state.withLock { body(&$0.counts) } }
    /// Whether the port has to be open: when it need not be, nobody counts what is refused.
    var isOpen: Bool {
        get { self.state.withLock(\.isOpen) }
        set { self.state.withLock { $0.isOpen = newValue } }
    }

    private var isOver: Bool { self.state.withLock { $0.isOver } }

    /// Runs clients while a body runs; they end with a whole answer.
    func run(_ number: Int, body: () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for client in 0..<number {
                group.addTask {
                    if client.isMultiple(of: 2) { await self.alwaysAnew() } else { await self.keptAlive() }
                }
            }
            let result: Result<Void, any Error>
            do { result = .success(try await body()) } catch { result = .failure(error) }
            self.state.withLock { $0.isOver = true }
            try await group.waitForAll()
            try result.get()
        }
    }

    /// Waits until so many more requests were answered.
    func answers(_ more: Int = 40, within limit: Duration = .seconds(20)) async throws {
        let wanted = self.counts.answered + more
        try await eventually(within: limit, "\(more) more requests are answered") { self.counts.answered >= wanted }
    }

    // MARK: Clients

    private static let body = #"{"model":"echo","messages":[{"role":"user","content":"Hello"}],"max_tokens":2}"#

    private static func post(_ connection: String) -> String {
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: \(connection)\r\nContent-Type: application/json\r\n"
            + "Content-Length: \(self.body.utf8.count)\r\n\r\n\(self.body)"
    }

    private static let get = "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"

    /// A connection for each request.
    private func alwaysAnew() async {
        while !self.isOver {
            if let connection = self.connect() {
                connection.send(Self.post("close"))
                let answer = await connection.receive(within: Self.patience)
                self.take(answer, "on a new connection")
            }
            try? await Task.sleep(for: Self.pause)
        }
    }

    /// One connection for as long as the server keeps it.
    private func keptAlive() async {
        var kept: ClientSocket?
        var number = 0
        while !self.isOver {
            number += 1
            let isIdempotent = number.isMultiple(of: 2)
            let request = isIdempotent ? Self.get : Self.post("keep-alive")
            // The server has ended it between two requests: nothing was sent on it.
            if kept?.isEnded ?? false { kept = nil }
            let isReused = kept != nil
            guard let connection = kept ?? self.connect() else {
                try? await Task.sleep(for: Self.pause)
                continue
            }
            connection.send(request)
            var answer = await connection.receive(within: Self.patience)
            kept = answer.keepsAlive ? connection : nil
            // RFC 9110, section 9.2.2: only what may be executed twice is sent again when nobody knows.
            if isReused, isIdempotent, answer.text.isEmpty, let other = self.connect() {
                self.count { $0.repeated += 1 }
                other.send(request)
                answer = await other.receive(within: Self.patience)
                kept = answer.keepsAlive ? other : nil
            }
            self.take(answer, isReused ? "on a kept connection" : "on a first connection")
            try? await Task.sleep(for: Self.pause)
        }
    }

    private func connect() -> ClientSocket? {
        let wasOpen = self.isOpen
        do { return try ClientSocket(port: self.port) } catch {
            if wasOpen, self.isOpen { self.count { $0.refused.append("\(error)") } }
            return nil
        }
    }

    private func take(_ answer: ClientSocket.Answer, _ place: String) {
        self.count { counts in
            if answer.isWhole, answer.text.hasPrefix("HTTP/1.1 200 ") {
                counts.answered += 1
            } else {
                counts.lost.append("\(place): \(answer.end), '\(answer.text.prefix(300))'")
            }
        }
    }
}

/// A connection of a client.
final class ClientSocket: Sendable {
    /// What came of an answer.
    struct Answer: Sendable {
        var text = ""
        var isWhole = false
        var end = "open"

        var keepsAlive: Bool { self.isWhole && !self.text.lowercased().contains("\r\nconnection: close\r\n") }
    }

    private let descriptor: Int32

    /// Connects to a port of this machine.
    ///
    /// - Throws: `POSIXError` when it is refused.
    init(port: Int) throws {
        self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port).bigEndian)
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
    }

    deinit { close(self.descriptor) }

    /// Whether the other side has ended it.
    var isEnded: Bool {
        var byte: UInt8 = 0
        let count = recv(self.descriptor, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
        return count >= 0 || errno != EAGAIN
    }

    /// Sends a short text; what goes wrong is seen when the answer is read.
    func send(_ text: String) {
        _ = text.utf8.withContiguousStorageIfAvailable {
            Glibc.send(self.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
    }

    /// Reads one answer.
    func receive(within limit: Duration) async -> Answer {
        var answer = Answer()
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        let deadline = ContinuousClock.now + limit
        while !answer.isWhole {
            let count = recv(self.descriptor, &chunk, chunk.count, Int32(MSG_DONTWAIT))
            if count > 0 {
                bytes += chunk[..<count]
                answer.text = String(decoding: bytes, as: UTF8.self)
                answer.isWhole = Self.isWhole(answer.text)
            } else if count == 0 {
                answer.end = "ended"
                return answer
            } else if errno != EAGAIN {
                answer.end = "failed: \(String(cString: strerror(errno)))"
                return answer
            } else if ContinuousClock.now > deadline {
                answer.end = "too late"
                return answer
            } else {
                try? await Task.sleep(for: .milliseconds(2))
            }
        }
        return answer
    }

    private static func isWhole(_ text: String) -> Bool {
        guard let end = text.firstRange(of: "\r\n\r\n") else { return false }
        let head = text[..<end.lowerBound].lowercased()
        guard let field = head.firstRange(of: "content-length: ") else { return text.hasSuffix("\r\n0\r\n\r\n") }
        let length = Int(head[field.upperBound...].prefix { $0.isNumber }) ?? 0
        return text[end.upperBound...].utf8.count >= length
    }
}
