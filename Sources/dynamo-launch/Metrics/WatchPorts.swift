import ArgumentParser
import Deployment
import Gateway

/// The ports where those who watch the launcher ask: its metrics, and whether it lives and the deployment serves.
struct WatchPorts: Sendable {
    private let listeners: [(place: String, listener: WatchListener)]

    /// Creates the ports of a deployment, which do not listen yet.
    ///
    /// - Parameters:
    ///   - metrics: `gateway.metrics` of the manifest.
    ///   - health: what `up` was asked for; the same address is one port.
    init(metrics: HTTPAddress?, health: HTTPAddress?) {
        var places: [(String, HTTPAddress)] = []
        if let metrics { places.append(("'gateway.metrics'", metrics)) }
        if let health, health != metrics { places.append(("'--health'", health)) }
        self.listeners = places.map { place, address in
            (place, WatchListener(host: address.host, port: address.port))
        }
    }

    /// Opens them.
    ///
    /// - Throws: `PublicPort.Unavailable` when one cannot be had.
    func bind() async throws(PublicPort.Unavailable) {
        for (place, listener) in self.listeners {
            do { try await listener.bind() } catch {
                throw PublicPort.Unavailable(description: "\(place): \(error)", errno: error.errno)
            }
        }
    }

    /// Answers until the task is cancelled.
    func run(_ answer: @escaping @Sendable (WatchPage) async -> WatchAnswer?) async {
        await withDiscardingTaskGroup { group in
            for (_, listener) in self.listeners { group.addTask { await listener.run(answer) } }
        }
    }
}

extension HTTPAddress {
    /// The value of `--health`.
    ///
    /// - Throws: `ValidationError` when the text is no port and no HOST:PORT.
    init(watched text: String) throws {
        guard let address = AddressText.listening(text, host: "127.0.0.1") else {
            throw ValidationError("--health is no address: '\(text)'; write a port, or HOST:PORT")
        }
        self = address
    }
}
