package import Logging
package import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Pauses a listener that cannot accept because the process or the system has run out of descriptors or memory.
///
/// The connection stays in the kernel's queue then and the listener stays readable, so that going on at once would only burn a processor.
package final class AcceptPause: ChannelInboundHandler {
    package typealias InboundIn = Never

    /// How long to wait for descriptors to become free.
    package static let length = TimeAmount.milliseconds(100)

    private let logger: Logger
    private let logLimit = LogLimit()
    private var timer: Scheduled<Void>?

    /// Creates the handler of one listening channel.
    package init(logger: Logger) { self.logger = logger }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? IOError else { return context.fireErrorCaught(error) }
        switch error.errnoCode {
        case EMFILE, ENFILE, ENOBUFS, ENOMEM: self.pause(context, error)
        // The peer was gone before it was accepted.
        case ECONNABORTED: break
        default: context.fireErrorCaught(error)
        }
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        self.timer?.cancel()
        self.timer = nil
    }

    private func pause(_ context: ChannelHandlerContext, _ error: IOError) {
        guard self.timer == nil, let options = context.channel.syncOptions else { return }
        if self.logLimit.allows() {
            self.logger.warning(
                "cannot accept connections for now; raise the limit of open files (LimitNOFILE, ulimit -n)",
                metadata: ["reason": "\(String(cString: strerror(error.errnoCode)))"]
            )
        }
        // The listener is not read until it is asked to again; both only fail on a channel that is closed.
        try? options.setOption(.autoRead, value: false)
        let bound = NIOLoopBound((handler: self, options: options), eventLoop: context.eventLoop)
        self.timer = context.eventLoop.scheduleTask(in: Self.length) {
            bound.value.handler.timer = nil
            try? bound.value.options.setOption(.autoRead, value: true)
        }
    }
}
