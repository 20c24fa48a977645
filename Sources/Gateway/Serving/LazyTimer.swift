import NIOCore

/// A deadline that moves often and is seldom met: moving it later costs nothing.
struct LazyTimer {
    private var deadline = NIODeadline.distantFuture
    private var scheduled: Scheduled<Void>?
    private var fires = NIODeadline.distantFuture

    /// Moves the deadline.
    ///
    /// - Parameters:
    ///   - time: from now on.
    ///   - eventLoop: the current one.
    ///   - owner: gets the call.
    ///   - body: called when nothing has moved the deadline in time.
    mutating func expect(
        within time: TimeAmount,
        _ eventLoop: any EventLoop,
        _ owner: ClientConnection,
        _ body: @escaping (ClientConnection) -> Void
    ) {
        self.deadline = .now() + time
        guard self.scheduled == nil || self.deadline < self.fires else { return }
        self.schedule(eventLoop, owner, body)
    }

    /// There is no deadline.
    mutating func stop() { self.deadline = .distantFuture }

    mutating func cancel() {
        self.deadline = .distantFuture
        self.scheduled?.cancel()
        self.scheduled = nil
    }

    private mutating func schedule(
        _ eventLoop: any EventLoop,
        _ owner: ClientConnection,
        _ body: @escaping (ClientConnection) -> Void
    ) {
        self.scheduled?.cancel()
        self.fires = self.deadline
        let bound = NIOLoopBound((owner, body), eventLoop: eventLoop)
        self.scheduled = eventLoop.scheduleTask(deadline: self.deadline) {
            let (owner, body) = bound.value
            owner.timerFired(eventLoop, body)
        }
    }

    /// The scheduled time has come.
    ///
    /// - Returns: whether the deadline has come too.
    mutating func fired(
        _ eventLoop: any EventLoop,
        _ owner: ClientConnection,
        _ body: @escaping (ClientConnection) -> Void
    ) -> Bool {
        self.scheduled = nil
        guard self.deadline != .distantFuture else { return false }
        if self.deadline <= .now() {
            self.deadline = .distantFuture
            return true
        }
        self.schedule(eventLoop, owner, body)
        return false
    }
}
