import Logging
import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Pauses a listener while the process has no descriptors or memory left: clients wait in the system's queue meanwhile.
final class AcceptPause: ChannelInboundHandler {
    typealias InboundIn = Never

    private let logger: Logger
    private var timer: Scheduled<Void>?
    private var logged = NIODeadline.distantPast

    init(logger: Logger) { self.logger = logger }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? IOError else { return context.fireErrorCaught(error) }
        switch error.errnoCode {
        case EMFILE, ENFILE, ENOBUFS, ENOMEM: self.pause(context, error)
        // The client was gone before it was accepted.
        case ECONNABORTED: break
        default: context.fireErrorCaught(error)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.timer?.cancel() }

    private func pause(_ context: ChannelHandlerContext, _ error: IOError) {
        guard self.timer == nil, let options = context.channel.syncOptions else { return }
        if self.logged + .seconds(10) < .now() {
            self.logged = .now()
            self.logger.warning(
                "cannot accept connections for now; raise the limit of open files (LimitNOFILE, ulimit -n)",
                metadata: ["reason": "\(String(cString: strerror(error.errnoCode)))"]
            )
        }
        // Both only fail on a channel that is closed.
        try? options.setOption(.autoRead, value: false)
        let bound = NIOLoopBound((handler: self, options: options), eventLoop: context.eventLoop)
        self.timer = context.eventLoop.scheduleTask(in: .milliseconds(100)) {
            bound.value.handler.timer = nil
            try? bound.value.options.setOption(.autoRead, value: true)
        }
    }
}
