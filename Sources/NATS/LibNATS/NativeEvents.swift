/// What libnats tells about one connection, in Swift values.
///
/// Most calls come while libnats holds the connection's lock: an implementation must not call back into the connection.
protocol NativeEvents: AnyObject, Sendable {
    /// The socket is connected and to be polled from now on.
    ///
    /// The descriptor belongs to libnats: only a duplicate of it may be kept.
    ///
    /// - Returns: whether polling could be arranged.
    func socketAttached(_ descriptor: Int32) -> Bool
    /// The socket is not to be polled any more: the connection is lost or closed.
    func socketDetached()
    /// There is something to write, or nothing any more.
    func writeWanted(_ isWanted: Bool)
    /// Something went wrong outside of any call.
    func asynchronousError(_ status: NativeStatus, _ text: String)
    /// A message for the inbox of requests, on a thread of its own and without locks.
    func replyArrived(_ message: NATSMessage, isNoResponders: Bool)
    /// The user's JWT, if there is one.
    var token: String? { get }
    /// The signature of the server's nonce, if this user has a key.
    func signature(of nonce: [UInt8]) -> [UInt8]?
}
