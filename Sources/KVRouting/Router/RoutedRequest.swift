import Discovery
package import KVRouter
package import NIOCore
package import RequestPlane

/// A tokenized request, as far as a router reads it (contract `kv-events.md`, section 9).
package struct RoutedRequest: Hashable, Sendable {
    package var tokens: [UInt32]
    package var lora: String?
    package var named: SelectionRequest.NamedWorker?
    /// What it wants otherwise than the router is set.
    package var override: RouterOverride?
    private var fields: JSONFields

    /// What a worker of Dynamo requires and a caller may leave out.
    private static let defaults: [(String, JSONValue)] = [
        ("model", "unknown"), ("stop_conditions", [:]), ("sampling_options", [:]), ("output_options", [:]),
        ("eos_token_ids", []), ("annotations", []),
    ]

    /// Reads a request of `generate` or `get_overlap_scores`.
    ///
    /// - Parameter payload: a JSON object with `token_ids`.
    /// - Throws: `RemoteError` that says what is wrong with it.
    package init(parsing payload: ByteBuffer) throws(RemoteError) {
        let body = try Self.json(payload)
        guard let fields = body.object else {
            throw Self.invalid("the request must be an object with `token_ids`, not \(body.kind)")
        }
        guard let tokens = fields["token_ids"] else { throw Self.invalid("`token_ids` is missing") }
        self.tokens = try Self.tokens(tokens, "`token_ids`")
        self.fields = fields
        let routing = fields["routing"]
        self.lora = routing?["lora_name"]?.string
        let rank = (routing?["dp_rank"] ?? fields["dp_rank"])?.uint64.flatMap(UInt32.init(exactly:))
        if let worker = routing?["decode_worker_id"]?.uint64 ?? routing?["backend_instance_id"]?.uint64 {
            self.named = SelectionRequest.NamedWorker(worker: worker, rank: rank)
        }
        if let override = fields["router_config_override"], !override.isNull {
            self.override = try RouterOverride(override)
        }
    }

    /// Reads a request of `best_worker_id`.
    ///
    /// - Parameter payload: a JSON list of tokens.
    /// - Returns: the tokens.
    /// - Throws: `RemoteError` that says what is wrong with it.
    package static func tokens(parsing payload: ByteBuffer) throws(RemoteError) -> [UInt32] {
        try self.tokens(try self.json(payload), "the request")
    }

    /// The request as the chosen rank gets it.
    package func payload(for rank: WorkerRank) -> ByteBuffer {
        var fields = self.fields
        for (name, value) in Self.defaults where fields[name]?.isNull ?? true { fields[name] = value }
        var routing = fields["routing"]?.object ?? JSONFields()
        routing["dp_rank"] = JSONValue(rank.rank)
        fields["routing"] = .object(routing)
        return JSONValue.object(fields).buffer
    }

    private static func json(_ payload: ByteBuffer) throws(RemoteError) -> JSONValue {
        do { return try JSONValue(parsing: payload) } catch { throw self.invalid("the request is not JSON: \(error)") }
    }

    private static func tokens(_ value: JSONValue, _ name: String) throws(RemoteError) -> [UInt32] {
        guard let elements = value.array else {
            throw self.invalid("\(name) must be a list of token ids, not \(value.kind)")
        }
        var tokens: [UInt32] = []
        tokens.reserveCapacity(elements.count)
        for element in elements {
            guard let token = element.uint64.flatMap(UInt32.init(exactly:)) else {
                throw self.invalid("\(name) must hold token ids, whole numbers below 2^32")
            }
            tokens.append(token)
        }
        return tokens
    }

    static func invalid(_ message: String) -> RemoteError {
        RemoteError(kind: .invalidArgument, message: message)
    }
}
