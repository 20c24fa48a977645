import Glibc

/// Waits for a socket and a wake-up at the same time.
struct SocketPoll {
    var wasWoken = false
    var isReadable = false
    var hasHungUp = false

    /// Waits until something happens or the time is over.
    init(wakeUp: WakeUp, socket: SocketDescriptor?, wantsWrite: Bool, until: ContinuousClock.Instant) {
        var descriptors = [pollfd(fd: wakeUp.readEnd, events: Int16(POLLIN), revents: 0)]
        if let socket {
            let interest = wantsWrite ? POLLIN | POLLOUT : POLLIN
            descriptors.append(pollfd(fd: socket.number, events: Int16(interest), revents: 0))
        }
        let remaining = until - .now
        let timeout = remaining <= .zero ? 0 : Int32(clamping: remaining.milliseconds)
        guard poll(&descriptors, nfds_t(descriptors.count), timeout) > 0 else { return }
        self.wasWoken = descriptors[0].revents != 0
        guard descriptors.count > 1 else { return }
        let received = Int32(descriptors[1].revents)
        self.hasHungUp = received & (POLLHUP | POLLERR | POLLNVAL) != 0
        self.isReadable = received & POLLIN != 0 || self.hasHungUp
    }
}
