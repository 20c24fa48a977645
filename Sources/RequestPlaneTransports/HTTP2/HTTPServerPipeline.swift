import NIOCore
import NIOHTTP1
import NIOHTTP2

/// Builds the handlers of a server's connections.
struct HTTPServerPipeline: Sendable {
    let core: ServingCore
    let configuration: HTTPConfiguration
    private let budget: HTTPBodyBudget

    /// The most that a request's headers may take.
    private static let maximumHeaderSize = 65_536

    init(core: ServingCore, configuration: HTTPConfiguration) {
        self.core = core
        self.configuration = configuration
        self.budget = HTTPBodyBudget(configuration)
    }

    /// Prepares a connection that was just accepted.
    func configure(_ channel: any Channel) throws {
        let detector = HTTPProtocolDetector(limit: self.configuration.stallTimeout) { channel, isHTTP2 in
            if isHTTP2 { try self.addHTTP2(channel) } else { try self.addHTTP1(channel) }
        }
        try channel.pipeline.syncOperations.addHandler(detector)
    }

    private func addHTTP1(_ channel: any Channel) throws {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderListSize = Self.maximumHeaderSize
        let decoder = HTTPRequestDecoder(
            leftOverBytesStrategy: .dropBytes,
            informationalResponseStrategy: .drop,
            limitConfiguration: limits
        )
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(ByteToMessageHandler(decoder))
        try pipeline.addHandler(HTTPResponseEncoder())
        try pipeline.addHandler(
            HTTPServerHandler(
                core: self.core,
                configuration: self.configuration,
                budget: self.budget,
                carrier: .connection
            )
        )
    }

    private func addHTTP2(_ channel: any Channel) throws {
        let management = NIOHTTP2ServerConnectionManagementHandler(
            eventLoop: channel.eventLoop,
            configuration: .init(
                maxIdleTime: TimeAmount(self.configuration.idleTimeout),
                maxAge: nil,
                maxGraceTime: nil,
                keepalive: nil
            )
        )
        let http2 = NIOHTTP2Handler(
            mode: .server,
            eventLoop: channel.eventLoop,
            connectionConfiguration: self.configuration.http2Connection(settings: [
                HTTP2Setting(
                    parameter: .maxConcurrentStreams,
                    value: self.configuration.maximumConcurrentStreams
                ),
                HTTP2Setting(parameter: .maxHeaderListSize, value: Self.maximumHeaderSize),
            ]),
            streamConfiguration: self.configuration.http2Stream,
            streamDelegate: management.http2StreamDelegate
        ) { stream in
            stream.eventLoop.makeCompletedFuture {
                let pipeline = stream.pipeline.syncOperations
                try pipeline.addHandler(HTTP2FramePayloadToHTTP1ServerCodec())
                try pipeline.addHandler(
                    HTTPServerHandler(
                        core: self.core,
                        configuration: self.configuration,
                        budget: self.budget,
                        carrier: .stream
                    )
                )
            }
        }
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(http2)
        try pipeline.addHandler(HTTP2ServerGuard(graceTime: self.configuration.stallTimeout))
        try pipeline.addHandler(management)
        // The channel is active already; the idle timer starts with the event that the manager has missed.
        try pipeline.context(handler: http2).fireChannelActive()
    }
}

extension HTTPConfiguration {
    /// The flow-control window of streams and connections.
    private var window: Int { self.adaptiveWindow ? min(max(self.maximumBodySize, 65_535), Int(Int32.max)) : 65_535 }

    /// What both sides say when a connection opens.
    ///
    /// - Parameter settings: what only one side says.
    /// - Returns: the configuration of a connection.
    func http2Connection(settings: HTTP2Settings) -> NIOHTTP2Handler.ConnectionConfiguration {
        var configuration = NIOHTTP2Handler.ConnectionConfiguration()
        configuration.initialSettings =
            settings + [
                HTTP2Setting(parameter: .maxFrameSize, value: self.maximumFrameSize),
                HTTP2Setting(parameter: .initialWindowSize, value: self.window),
            ]
        configuration.targetWindowSize = self.window
        // Real peers measure their connections with pings while much data flows.
        configuration.controlFrameRateLimit.maximumCount = 10_000
        return configuration
    }

    /// The flow control of streams.
    var http2Stream: NIOHTTP2Handler.StreamConfiguration {
        var configuration = NIOHTTP2Handler.StreamConfiguration()
        configuration.targetWindowSize = self.window
        return configuration
    }
}
