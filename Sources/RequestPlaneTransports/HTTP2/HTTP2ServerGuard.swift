import NIOCore
import NIOHTTP2

/// Ends an HTTP/2 connection that would not end by itself: one that is broken, or whose peer ignores that it is to go away.
///
/// A connection stays on which only a stream is broken.
final class HTTP2ServerGuard: ChannelDuplexHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    private let graceTime: Duration
    private var timer: Scheduled<Void>?

    /// Creates a guard.
    ///
    /// - Parameter graceTime: how long a connection may live after it was told to go away.
    init(graceTime: Duration) { self.graceTime = graceTime }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if !HTTP2Fault.concernsOneStream(error) { context.close(promise: nil) }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .goAway = self.unwrapOutboundIn(data).payload, self.timer == nil {
            let context = NIOLoopBound(context, eventLoop: context.eventLoop)
            self.timer = context.eventLoop.scheduleTask(in: TimeAmount(self.graceTime)) {
                context.value.close(promise: nil)
            }
        }
        context.write(data, promise: promise)
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.timer?.cancel() }
}

/// What an error of the HTTP/2 handler means for its connection.
enum HTTP2Fault {
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
