package import Deployment
internal import FoundationEssentials
internal import NIOCore
internal import NIOPosix

/// Whether a NATS server answers: its INFO line, then PONG to our CONNECT and PING.
package enum NATSPing {
    static func ask(url: String, timeout: Duration) async -> ProbeOutcome {
        do {
            _ = try await self.ask(url: url, timeout: timeout, untilPong: true)
            return .success
        } catch {
            return .failure("\(error)")
        }
    }

    /// What a server says of itself before anybody logs in.
    ///
    /// - Parameters:
    ///   - url: of the server; of a list the first.
    ///   - timeout: the longest wait.
    /// - Returns: its INFO, or why there is none.
    package static func info(url: String, timeout: Duration) async -> DoctorFacts.NATSAnswer {
        do {
            return .server(try await self.ask(url: url, timeout: timeout, untilPong: false))
        } catch {
            return .silence("\(error)")
        }
    }

    private static func ask(
        url: String,
        timeout: Duration,
        untilPong: Bool
    ) async throws(HTTPFailure) -> DoctorFacts.NATSServer {
        guard let address = Self.address(of: url) else {
            throw HTTPFailure("\(Secrets.masking(url: url)) is not a NATS URL")
        }
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = loop.makePromise(of: DoctorFacts.NATSServer.self)
        let limit = TimeAmount(timeout)
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(limit)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        PingHandler(promise: promise, credentials: address.credentials, untilPong: untilPong)
                    )
                }
            }
        do {
            let channel = try await bootstrap.connect(host: address.host, port: address.port).get()
            let deadline = loop.scheduleTask(in: limit) {
                promise.fail(
                    HTTPFailure("no \(untilPong ? "PONG" : "INFO") within \(timeout.inSeconds.shortWords) s")
                )
                channel.close(promise: nil)
            }
            defer {
                deadline.cancel()
                channel.close(promise: nil)
            }
            return try await promise.futureResult.get()
        } catch {
            promise.fail(error)
            throw HTTPClient.failure(from: error)
        }
    }

    /// The fields of INFO that matter; a server that leaves one away does not have it.
    private struct Info: Decodable {
        var version: String?
        var maxPayload: Int?
        var headers: Bool?
        var jetstream: Bool?

        enum CodingKeys: String, CodingKey {
            case version, headers, jetstream
            case maxPayload = "max_payload"
        }
    }

    /// Reads `INFO {...}`; nil when it is no such line.
    static func server(info line: String) -> DoctorFacts.NATSServer? {
        guard line.hasPrefix("INFO"),
            let info = try? JSONDecoder().decode(Info.self, from: Data(line.dropFirst(4).utf8))
        else { return nil }
        return DoctorFacts.NATSServer(
            version: info.version ?? "unknown",
            maxPayload: info.maxPayload ?? 0,
            hasHeaders: info.headers ?? false,
            hasJetStream: info.jetstream ?? false
        )
    }

    struct Address: Equatable {
        var host: String
        var port: Int
        /// `user:password` or a token, as in the URL.
        var credentials: String?
    }

    /// Reads `nats://[credentials@]host[:port]`; of a list the first.
    static func address(of url: String) -> Address? {
        guard let first = url.split(separator: ",").first.map({ String($0).trimmed }) else { return nil }
        var rest = first[...]
        for scheme in ["nats://", "tls://"] where rest.hasPrefix(scheme) { rest = rest.dropFirst(scheme.count) }
        if let slash = rest.firstIndex(of: "/") { rest = rest[..<slash] }
        var credentials: String?
        if let at = rest.lastIndex(of: "@") {
            credentials = String(rest[..<at])
            rest = rest[rest.index(after: at)...]
        }
        var port = 4222
        if let colon = rest.lastIndex(of: ":"), !rest[colon...].contains("]") {
            guard let number = Int(rest[rest.index(after: colon)...]), (1...65535).contains(number) else { return nil }
            port = number
            rest = rest[..<colon]
        }
        if rest.hasPrefix("["), rest.hasSuffix("]") { rest = rest.dropFirst().dropLast() }
        return rest.isEmpty ? nil : Address(host: String(rest), port: port, credentials: credentials)
    }
}

private final class PingHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let promise: EventLoopPromise<DoctorFacts.NATSServer>
    private let credentials: String?
    private let untilPong: Bool
    private var server: DoctorFacts.NATSServer?
    private var splitter = LineSplitter(limit: 1 << 20)

    init(promise: EventLoopPromise<DoctorFacts.NATSServer>, credentials: String?, untilPong: Bool) {
        self.promise = promise
        self.credentials = credentials
        self.untilPong = untilPong
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        for line in self.splitter.append(self.unwrapInboundIn(data).readableBytesView) {
            let text = String(decoding: line.bytes, as: UTF8.self)
            if text.hasPrefix("INFO") {
                guard let server = NATSPing.server(info: text) else {
                    self.promise.fail(HTTPFailure("what answers is no NATS server: \(text.prefix(80))"))
                    return
                }
                self.server = server
                guard self.untilPong else { return self.promise.succeed(server) }
                let command = "CONNECT \(self.options)\r\nPING\r\n"
                context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(string: command)), promise: nil)
            } else if text.hasPrefix("PONG"), let server = self.server {
                self.promise.succeed(server)
            } else if text.hasPrefix("-ERR") {
                self.promise.fail(HTTPFailure("the server says \(text)"))
            }
        }
    }

    private var options: String {
        var options = "{\"verbose\":false,\"pedantic\":false,\"name\":\"dynamo-launch\""
        if let credentials = self.credentials {
            if let colon = credentials.firstIndex(of: ":") {
                options += ",\"user\":\(ConsoleFormatter.quoted(String(credentials[..<colon])))"
                options +=
                    ",\"pass\":\(ConsoleFormatter.quoted(String(credentials[credentials.index(after: colon)...])))"
            } else {
                options += ",\"auth_token\":\(ConsoleFormatter.quoted(credentials))"
            }
        }
        return options + "}"
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.promise.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.promise.fail(HTTPFailure("the server closed the connection"))
        context.fireChannelInactive()
    }
}
