import Synchronization

/// One connection of libnats, from the attempt to its loss.
///
/// `ConnectionLoop` replaces a lost one by a new one.
///
/// libnats could connect again by itself, but not in event-loop mode: what was left in its parser of a message that was cut
/// off would swallow the beginning of what the next connection brings.
final class Link: Sendable {
    private let core: ConnectionCore
    private let state = Mutex(State())

    private struct State {
        var socket: SocketDescriptor?
        var wantsWrite = false
        var isLost = false
    }

    init(_ core: ConnectionCore) { self.core = core }

    /// What to poll, and for what.
    var interest: (socket: SocketDescriptor?, wantsWrite: Bool, isLost: Bool) {
        self.state.withLock { ($0.socket, $0.wantsWrite, $0.isLost) }
    }

    var wantsWrite: Bool { self.state.withLock { $0.wantsWrite } }

    var isLost: Bool { self.state.withLock { $0.isLost } }

    /// An attempt that succeeded.
    struct Established: Sendable {
        let link: Link
        let native: NativeConnection
        let facts: NativeConnection.ServerFacts
        fileprivate let number: UInt

        /// Ends the connection and forgets its callbacks.
        ///
        /// Blocks for up to half a second when something is unwritten.
        func retire() {
            self.native.close()
            NativeRegistry.shared.remove(self.number)
        }
    }

    /// Connects; blocks until it is done or has failed.
    func establish() throws(NATSError) -> Established {
        let number = NativeRegistry.shared.add(self)
        do throws(NATSError) {
            let native = try NativeConnection.connect(self.core.configuration, number: number)
            return Established(link: self, native: native, facts: native.serverFacts, number: number)
        } catch {
            NativeRegistry.shared.remove(number)
            throw error
        }
    }
}

extension Link: NativeEvents {
    func socketAttached(_ descriptor: Int32) -> Bool {
        guard let socket = SocketDescriptor(duplicating: descriptor) else { return false }
        self.state.withLock { $0.socket = socket }
        return true
    }

    func socketDetached() {
        self.state.withLock { $0.isLost = true }
        self.core.wake()
    }

    func writeWanted(_ isWanted: Bool) {
        self.state.withLock { $0.wantsWrite = isWanted }
        if isWanted { self.core.wake() }
    }

    func asynchronousError(_ status: NativeStatus, _ text: String) { self.core.asynchronousError(status, text) }

    func replyArrived(_ message: NATSMessage, isNoResponders: Bool) {
        self.core.replyArrived(message, isNoResponders: isNoResponders)
    }

    func signature(of nonce: [UInt8]) -> [UInt8]? { self.core.key?.signature(of: nonce) }
}
