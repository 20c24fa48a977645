package import NIOCore

/// A socket of a `ZMQThread`; it may be used from everywhere and blocks nobody.
package struct ZMQSocket: Sendable {
    let number: UInt64
    let thread: ZMQThread
    private let maximumQueued: Int

    init(number: UInt64, thread: ZMQThread, maximumQueued: Int) {
        self.number = number
        self.thread = thread
        self.maximumQueued = maximumQueued
    }

    /// Sends a message, in order with everything that was sent before.
    ///
    /// - Parameter frames: at least one.
    /// - Throws: `ZMQError`, `overloaded` when too many wait already, `closed` after the end.
    package func send(_ frames: [ByteBuffer]) throws(ZMQError) {
        try self.thread.send(frames, self.number, maximumQueued: self.maximumQueued)
    }

    /// Closes the socket; messages that are just being read may still be told.
    package func close() { self.thread.post(.close(self.number)) }
}
