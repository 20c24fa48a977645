/// The KV events of an engine without Dynamo's publisher: where they come from, and what the launcher makes of them.
package struct KVRelayPlan: Sendable, Hashable, Codable {
    /// A data-parallel rank of the engine.
    package struct Source: Sendable, Hashable, Codable {
        /// Where it publishes, as ZeroMQ says it: `tcp://127.0.0.1:5557`.
        package var engine: String
        /// Where it answers requests for messages that were missed; nil when it does not.
        package var replay: String?

        package init(engine: String, replay: String? = nil) {
            self.engine = engine
            self.replay = replay
        }
    }

    /// One for each rank, from rank 0 on; never empty.
    package var sources: [Source]
    /// The beginning of the topics that are taken; empty for all.
    package var topic: String
    /// Tokens of a block; nil: what the worker's model card says.
    package var blockSize: Int?
    /// The endpoint that requests are sent to; nil: the one that the worker's model card belongs to.
    package var endpoint: KVEndpoint?

    package init(sources: [Source], topic: String = "", blockSize: Int? = nil, endpoint: KVEndpoint? = nil) {
        self.sources = sources
        self.topic = topic
        self.blockSize = blockSize
        self.endpoint = endpoint
    }

    /// One line for people.
    package var rendered: String {
        let places = self.sources.map { $0.engine + ($0.replay.map { " (replay \($0))" } ?? "") }
        var text = "taken from \(places.joined(separator: ", "))"
        if !self.topic.isEmpty { text += ", topic \(ShellText.quoted(self.topic))" }
        text += ", blocks of \(self.blockSize.map { "\($0) tokens" } ?? "the model card's size")"
        if let endpoint = self.endpoint { text += ", for \(endpoint)" }
        return text
    }
}

/// A component and an endpoint of the deployment's namespace.
package struct KVEndpoint: Sendable, Hashable, Codable, CustomStringConvertible {
    package var component: String
    package var endpoint: String

    package init(component: String, endpoint: String) {
        self.component = component
        self.endpoint = endpoint
    }

    package var description: String { "\(self.component).\(self.endpoint)" }
}
