/// Where the handlers of a process run and their answers are pulled.
public enum HandlerExecution: Sendable, Hashable {
    /// On Swift's own threads.
    ///
    /// A handler may compute for long; passing an item to the connection wakes the thread that drives it, which takes longer than all the
    /// rest when a connection carries one item at a time.
    case concurrent
    /// On the event loop of the connection that the answer travels on: an item is written by the thread that made it.
    ///
    /// Only for handlers that never block and never compute for long: while one does, every connection of its event loop stands still,
    /// those of other requests too. Of use to a handler that passes on what comes from another connection of the same event loop; with a
    /// `MultiThreadedEventLoopGroup` of one thread, given to the `NetworkManager`, that is every connection.
    case onEventLoop
}
