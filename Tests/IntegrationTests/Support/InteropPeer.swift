import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// A release of Dynamo and a request plane that it speaks.
struct InteropPeer: Sendable, CustomTestStringConvertible {
    let release: TestEnvironment.DynamoPeer
    let mode: RequestPlaneMode
    /// What a NATS server takes, in bytes; 1 MiB is its own default.
    var maximumPayload = 1_048_576

    /// One for each release and plane that go together; releases after 1.2 have no HTTP plane.
    static let pairs = [
        InteropPeer(release: .v121, mode: .tcp), InteropPeer(release: .v161, mode: .tcp),
        InteropPeer(release: .v121, mode: .http),
        InteropPeer(release: .v121, mode: .nats), InteropPeer(release: .v161, mode: .nats),
    ]

    /// The pairs, and NATS with a server that takes more than it does by itself.
    static let all =
        InteropPeer.pairs + [.v121, .v161].map { InteropPeer(release: $0, mode: .nats, maximumPayload: 16_777_216) }

    var testDescription: String {
        "\(self.release) \(self.mode.rawValue)" + (self.mode == .nats ? " \(self.maximumPayload)" : "")
    }

    /// A size near to the most that the plane carries to real servers.
    var bigSize: Int {
        switch self.mode {
        case .tcp: 31_000_000
        case .http: 2_090_000
        case .nats: self.maximumPayload > 15_000_000 ? 15_000_000 : 1_047_000
        }
    }

    /// A size that the plane does not carry; nil for TCP, whose limit has tests of its own.
    var tooLargeSize: Int? {
        switch self.mode {
        case .tcp: nil
        case .http: 2_097_153
        case .nats: self.maximumPayload + 1
        }
    }

    /// How discovery records name the plane.
    var recordKey: String { self.mode == .nats ? "nats_tcp" : self.mode.rawValue }

    func address(_ text: String) -> TransportAddress {
        switch self.mode {
        case .tcp: .tcp(text)
        case .http: .http(text)
        case .nats: .nats(text)
        }
    }

    /// Runs what the plane needs beside the processes: a NATS server, and for the others nothing.
    ///
    /// - Parameter body: gets the server's URL.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or that no NATS server can be run.
    func withBroker<Value: Sendable>(_ body: (String?) async throws -> Value) async throws -> Value {
        guard self.mode == .nats else { return try await body(nil) }
        return try await NATSServerFixture.run(configuration: "max_payload: \(self.maximumPayload)") { server in
            try await body(server.url)
        }
    }
}
