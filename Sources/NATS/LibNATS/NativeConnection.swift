import CNATS
import Glibc

/// A connection of libnats in event-loop mode: libnats never touches the socket on its own once it is connected, but asks
/// us to poll it and tells us when there is something to write.
///
/// `@unchecked Sendable`: the pointer never changes, and libnats locks the object for each call.
final class NativeConnection: @unchecked Sendable {
    private let pointer: OpaquePointer
    private let closure: UnsafeMutableRawPointer?

    private init(_ pointer: OpaquePointer, closure: UnsafeMutableRawPointer?) {
        self.pointer = pointer
        self.closure = closure
    }

    deinit { natsConnection_Destroy(self.pointer) }

    /// What a server said about itself.
    struct ServerFacts: Sendable, Hashable {
        var maximumPayload: Int
        var address: String
    }

    /// Connects; blocks until it is done or has failed.
    static func connect(
        _ configuration: NATSConfiguration,
        _ identity: UserIdentity?,
        number: UInt
    ) throws(NATSError) -> NativeConnection {
        let options = try NativeOptions(configuration, identity, number: number)
        var pointer: OpaquePointer?
        let status = NativeStatus(natsConnection_Connect(&pointer, options.pointer))
        guard status == .ok, let pointer else {
            throw ConnectFailure.error(status, NativeStatus.lastErrorText, configuration)
        }
        return NativeConnection(pointer, closure: NativeOptions.closure(number))
    }

    /// Reads once and takes apart what came.
    func processRead() { natsConnection_ProcessReadEvent(self.pointer) }

    /// Writes what the socket takes.
    ///
    /// Only to be called while a write is wanted: libnats treats writing nothing as the end.
    func processWrite() { natsConnection_ProcessWriteEvent(self.pointer) }

    func publish(_ message: NATSMessage) -> NativeStatus { NativeMessage.publish(message, on: self.pointer) }

    func subscribe(_ subject: String, queueGroup: String?) -> (subscription: NativeSubscription?, status: NativeStatus)
    {
        var subscription: OpaquePointer?
        let status =
            queueGroup.map { natsConnection_QueueSubscribeSync(&subscription, self.pointer, subject, $0) }
            ?? natsConnection_SubscribeSync(&subscription, self.pointer, subject)
        return (subscription.map { NativeSubscription($0, subject: subject) }, NativeStatus(status))
    }

    /// Subscribes to the inbox of requests, whose messages go to `replyArrived`.
    ///
    /// Not taken message by message like others, because libnats then keeps from us whose request has no responders.
    func subscribeToReplies(_ subject: String) -> (subscription: NativeSubscription?, status: NativeStatus) {
        var subscription: OpaquePointer?
        let status = natsConnection_Subscribe(&subscription, self.pointer, subject, Callbacks.reply, self.closure)
        return (subscription.map { NativeSubscription($0, subject: subject) }, NativeStatus(status))
    }

    /// Writes everything and waits until the server has answered a ping that follows it.
    ///
    /// Blocks; the socket must be polled elsewhere meanwhile.
    func flush(timeout: Duration) -> NativeStatus {
        NativeStatus(natsConnection_FlushTimeout(self.pointer, timeout.milliseconds))
    }

    /// Ends everything; may block for half a second when something is unwritten, or for an attempt to reconnect.
    func close() { natsConnection_Close(self.pointer) }

    var serverFacts: ServerFacts {
        var address = [CChar](repeating: 0, count: 512)
        let text = address.withUnsafeMutableBufferPointer { buffer -> String in
            guard let start = buffer.baseAddress,
                natsConnection_GetConnectedUrl(self.pointer, start, buffer.count) == NATS_OK
            else { return "" }
            return String(cString: start)
        }
        return ServerFacts(maximumPayload: Int(natsConnection_GetMaxPayload(self.pointer)), address: text)
    }

    /// Why the connection ended.
    var lastError: String {
        var text: UnsafePointer<CChar>?
        let status = natsConnection_GetLastError(self.pointer, &text)
        if let text, text.pointee != 0 { return String(cString: text) }
        return status == NATS_OK ? "" : natsStatus_GetText(status).map { String(cString: $0) } ?? ""
    }

    /// To be called at the end of a thread of ours that has called libnats.
    static func releaseThreadMemory() { nats_ReleaseThreadMemory() }
}
