import Discovery
import KVRouter
import NIOCore
import RequestPlane

/// An item of a worker's answer as the router of Dynamo 1.2.1 passes it on: rebuilt with a fixed set of fields, and the chosen
/// worker in the first (contract `kv-events.md`, section 9).
struct RoutedItem {
    private static let names = [
        "tokens", "text", "cum_log_probs", "log_probs", "top_logprobs", "finish_reason", "stop_reason", "index",
        "disaggregated_params", "extra_args", "completion_usage",
    ]

    let item: ResponseItem
    /// Tokens that the item carries.
    let tokens: Int

    /// Rebuilds an item; one that is no object goes on as it is.
    ///
    /// - Parameters:
    ///   - buffer: the worker's item.
    ///   - worker: who answers; nil in all items but the first.
    init(_ buffer: ByteBuffer, naming worker: WorkerRank?) {
        guard let fields = (try? JSONValue(parsing: buffer))?.object else {
            self.item = .data(buffer)
            self.tokens = 0
            return
        }
        let tokens = fields["token_ids"] ?? []
        var rebuilt: JSONFields = ["token_ids": tokens]
        for name in Self.names { rebuilt.append(name, fields[name] ?? .null) }
        if let worker {
            var parameters = rebuilt["disaggregated_params"]?.object ?? JSONFields()
            parameters["worker_id"] = [
                "prefill_worker_id": JSONValue(worker.worker), "prefill_dp_rank": JSONValue(worker.rank),
                "decode_worker_id": JSONValue(worker.worker), "decode_dp_rank": JSONValue(worker.rank),
            ]
            rebuilt["disaggregated_params"] = .object(parameters)
        }
        self.item = .data(JSONValue.object(rebuilt).buffer)
        self.tokens = tokens.array?.count ?? 0
    }
}
