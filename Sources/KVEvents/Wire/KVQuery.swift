package import NIOCore
import RequestPlane

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What a router asks a worker after it has missed events (contract `kv-events.md`, section 3).
package struct KVQuery: Hashable, Sendable {
    /// The worker that is meant.
    package var worker: UInt64
    /// The first event that is wanted; nil for everything that the worker holds.
    package var start: UInt64?
    /// The last one that is wanted; workers answer up to the newest all the same.
    package var end: UInt64?
    /// The data-parallel rank; Dynamo 1.2 has an endpoint for each and does not say it.
    package var rank: UInt32?

    package init(worker: UInt64, start: UInt64? = nil, end: UInt64? = nil, rank: UInt32? = nil) {
        self.worker = worker
        self.start = start
        self.end = end
        self.rank = rank
    }

    /// Reads the body of a request.
    ///
    /// - Parameter body: JSON text.
    /// - Throws: `DecodingError` when a field is missing or wrong.
    package init(_ body: ByteBuffer) throws {
        let fields = try JSONDecoder().decode(Fields.self, from: Data(body.readableBytesView))
        self.init(
            worker: fields.worker_id,
            start: fields.start_event_id,
            end: fields.end_event_id,
            rank: fields.dp_rank
        )
    }

    /// The body of a request.
    ///
    /// - Parameter form: the release of the worker that is asked.
    /// - Returns: JSON text.
    package func body(_ form: DynamoEventForm) -> ByteBuffer {
        let start = self.start.map { "\($0)" } ?? "null"
        let end = self.end.map { "\($0)" } ?? "null"
        let more =
            switch form {
            case .release12: ""
            case .release16: #","dp_rank":\#(self.rank ?? 0),"supports_tree_dump_failed":true,"kind":"recovery""#
            }
        return ByteBuffer(
            string: #"{"worker_id":\#(self.worker),"start_event_id":\#(start),"end_event_id":\#(end)\#(more)}"#
        )
    }

    private struct Fields: Decodable {
        var worker_id: UInt64
        var start_event_id: UInt64?
        var end_event_id: UInt64?
        var dp_rank: UInt32?
    }
}
