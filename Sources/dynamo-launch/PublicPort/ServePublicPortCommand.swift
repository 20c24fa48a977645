import ArgumentParser
import Gateway
import Glibc
import Logging
import Supervisor
import UnixSignals

/// The process that serves the public port when the launcher must not be needed for it.
///
/// `up` starts it; it is of no use to a person, and not listed.
struct ServePublicPortCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve-public-port",
        abstract: "Serve the public port of a deployment ('up' starts this with 'survive: true').",
        shouldDisplay: false
    )

    /// How long requests may take when it is told to end by a signal: less than its keeper waits before it kills.
    private static let grace = Duration.milliseconds(1500)

    func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        signal(SIGHUP, SIG_IGN)
        guard let configuration = Self.configurationGiven else {
            Terminal.printError(
                "error: 'serve-public-port' is started by 'dynamo-launch up' when the manifest says 'survive: true', not by hand"
            )
            throw ExitCode(1)
        }
        // Before anything is told to end, so that no signal is lost.
        let signals = await UnixSignalsSequence(trapping: [.sigterm, .sigint])
        let lines = GatewayLines()
        let gateway = Gateway(configuration.gateway, logger: lines.logger())
        let server = GatewayControlServer(gateway, configuration, lines: lines)
        // As the files are before they are read.
        let watches = Set(configuration.gateway.listeners.compactMap(\.tls)).map { tls in
            CertificateWatch(
                files: [tls.certificatePath, tls.keyPath],
                gateway: gateway,
                logger: lines.logger(.notice)
            )
        }
        do {
            try await gateway.bind(isAccepting: !configuration.awaitsTurn)
            try await server.bind()
        } catch {
            // Its standard error is a file.
            Terminal.printError("error: \(error)")
            throw ExitCode(1)
        }
        await withDiscardingTaskGroup { group in
            for watch in watches { group.addTask { await watch.run() } }
            group.addTask {
                for await _ in signals {
                    server.requestDrain(within: Self.grace)
                    // One that drains already may have been given more time.
                    try? await Task.sleep(for: Self.grace)
                    Glibc.exit(0)
                }
            }
            await server.run()
            group.cancelAll()
        }
    }

    /// Nil when nobody gave one.
    private static var configurationGiven: GatewayProcessConfiguration? {
        let descriptor = RemoteGateway.configurationDescriptor
        let size = lseek(descriptor, 0, SEEK_END)
        guard size > 0, size < 1 << 20 else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(size))
        guard pread(descriptor, &bytes, bytes.count, 0) == bytes.count else { return nil }
        close(descriptor)
        return try? GatewayProcessConfiguration(reading: bytes)
    }
}
