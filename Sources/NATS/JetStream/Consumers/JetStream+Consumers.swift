extension JetStream {
    /// Makes sure that a durable pull consumer exists.
    ///
    /// - Parameters:
    ///   - configuration: its name and how it gives out messages.
    ///   - stream: the stream's name.
    /// - Returns: the consumer, which lives until it is deleted or unused for its threshold.
    /// - Throws: `JetStreamError`, `streamMissing` when there is no such stream, `refused` for settings that an existing one cannot take.
    package func consumer(
        _ configuration: ConsumerConfiguration,
        of stream: String
    ) async throws(JetStreamError)
        -> JetStreamConsumer
    {
        try Self.validate(stream, "stream")
        try Self.validate(configuration.name, "consumer")
        let request = ConsumerRequest(stream_name: stream, config: configuration, action: "")
        let _: ConsumerInfo = try await self.ask(
            "CONSUMER.CREATE.\(stream).\(configuration.name)",
            request,
            to: "create the consumer '\(configuration.name)' of the stream '\(stream)'"
        )
        return JetStreamConsumer(jetStream: self, stream: stream, name: configuration.name)
    }

    /// The names of a stream's consumers.
    ///
    /// - Parameter stream: its name.
    /// - Returns: the names, without order.
    /// - Throws: `JetStreamError`, `streamMissing` when there is no such stream.
    package func consumerNames(of stream: String) async throws(JetStreamError) -> [String] {
        struct Page: Decodable {
            var total: Int
            var consumers: [String]?
        }
        try Self.validate(stream, "stream")
        var names: [String] = []
        while true {
            let page: Page = try await self.ask(
                "CONSUMER.NAMES.\(stream)",
                ["offset": names.count],
                to: "list the consumers of the stream '\(stream)'"
            )
            let more = page.consumers ?? []
            names += more
            if more.isEmpty || names.count >= page.total { return names }
        }
    }

    // The names are those on the wire.
    private struct ConsumerRequest: Encodable, Sendable {
        var stream_name: String
        var config: ConsumerConfiguration
        var action: String
    }
}
