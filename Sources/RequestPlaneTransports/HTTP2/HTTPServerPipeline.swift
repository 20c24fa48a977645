import NIOCore
import NIOHTTP1
import NIOHTTP2

/// Builds the handlers of a server's connections.
struct HTTPServerPipeline: Sendable {
    let core: ServingCore
    let configuration: HTTPConfiguration

    /// The most that a request's headers may take.
    private static let maximumHeaderSize = 65_536

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
            HTTPServerHandler(core: self.core, configuration: self.configuration, carrier: .connection)
        )
    }

    private func addHTTP2(_ channel: any Channel) throws {
        let management = NIOHTTP2ServerConnectionManagementHandler(
            eventLoop: channel.eventLoop,
            configuration: .init(
                maxIdleTime: TimeAmount(self.configuration.idleTimeout),
                maxAge: nil,
                maxGraceTime: TimeAmount(self.configuration.stallTimeout),
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
                    HTTPServerHandler(core: self.core, configuration: self.configuration, carrier: .stream)
                )
            }
        }
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(http2)
        try pipeline.addHandler(management)
        try pipeline.addHandler(HTTP2ErrorHandler())
        // The channel is active already; the idle timer starts with the event that the manager has missed.
        try pipeline.context(handler: http2).fireChannelActive()
    }
}

/// Closes a connection whose HTTP/2 is broken, and leaves one alone on which only a stream is.
final class HTTP2ErrorHandler: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if !Self.concernsOneStream(error) { context.close(promise: nil) }
    }

    /// Whether the HTTP/2 handler has dealt with the error by resetting a stream.
    static func concernsOneStream(_ error: any Error) -> Bool {
        switch error {
        case is NIOHTTP2Errors.StreamError, is NIOHTTP2Errors.StreamClosed, is NIOHTTP2Errors.NoSuchStream,
            is NIOHTTP2Errors.ContentLengthViolated, is NIOHTTP2Errors.ContentLengthHeadersMismatch,
            is NIOHTTP2Errors.ContentLengthHeaderNegative, is NIOHTTP2Errors.ContentLengthHeaderMalformedValue,
            is NIOHTTP2Errors.MissingPseudoHeader, is NIOHTTP2Errors.DuplicatePseudoHeader,
            is NIOHTTP2Errors.PseudoHeaderAfterRegularHeader, is NIOHTTP2Errors.UnknownPseudoHeader,
            is NIOHTTP2Errors.UnsupportedPseudoHeader, is NIOHTTP2Errors.InvalidPseudoHeaders,
            is NIOHTTP2Errors.InvalidPseudoHeaderValue, is NIOHTTP2Errors.EmptyPathHeader,
            is NIOHTTP2Errors.InvalidStatusValue, is NIOHTTP2Errors.InvalidHTTP2HeaderFieldName,
            is NIOHTTP2Errors.InvalidHTTP2HeaderFieldValue, is NIOHTTP2Errors.ForbiddenHeaderField,
            is NIOHTTP2Errors.TrailersWithoutEndStream:
            true
        default: false
        }
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
