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
        /// Who the user is in this attempt.
        var identity: UserIdentity?
        /// The nonce was one whose signature libnats does not send.
        var lacksSignature = false
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
        let identity = try UserIdentity(self.core.configuration.credentials)
        self.state.withLock { $0.identity = identity }
        let number = NativeRegistry.shared.add(self)
        var nonces = 0
        while true {
            nonces += 1
            do throws(NATSError) {
                let native = try NativeConnection.connect(self.core.configuration, identity, number: number)
                return Established(link: self, native: native, facts: native.serverFacts, number: number)
            } catch {
                // The next connection brings another nonce, whose signature is most likely sent.
                let lacked = self.state.withLock { state in
                    defer { state.lacksSignature = false }
                    return state.lacksSignature
                }
                if lacked, nonces < Self.maximumNonces { continue }
                NativeRegistry.shared.remove(number)
                throw error
            }
        }
    }

    /// One of 256 nonces fails, so that this many in a row never do.
    private static let maximumNonces = 16
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

    var token: String? { self.state.withLock { $0.identity?.token } }

    /// libnats 3.4 takes a signature that begins with a zero byte for none and leaves it out, which servers refuse as a wrong
    /// one: such a nonce is not signed, and `establish` gets another.
    func signature(of nonce: [UInt8]) -> [UInt8]? {
        guard let signature = self.state.withLock({ $0.identity })?.key.signature(of: nonce) else { return nil }
        guard signature.first != 0 else {
            self.state.withLock { $0.lacksSignature = true }
            return nil
        }
        return signature
    }
}
