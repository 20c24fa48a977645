package import RequestPlane

/// A process's place on the event plane, where it publishes.
package protocol EventPlane: Sendable {
    /// Opens what publishes the messages of one topic.
    ///
    /// - Parameters:
    ///   - topic: what they are about.
    ///   - form: the release of those who read them.
    ///   - endpoint: the endpoint that requests are sent to.
    ///   - publisher: the id in the envelopes.
    /// - Returns: the channel, open until the plane is closed.
    /// - Throws: `ZMQError` when a socket cannot be opened.
    func channel(
        _ topic: KVEventTopic,
        _ form: DynamoEventForm,
        of endpoint: EndpointID,
        publisher: UInt64
    ) async throws -> EventChannel

    /// Writes what waits, as far as that takes no time, and leaves the plane.
    func close() async
}
