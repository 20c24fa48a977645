import NIOCore
import RequestPlane

/// The answer to a tokenized request: an item for each token, then the reason of the end (contract `discovery.md`, section 8).
enum MockAnswer {
    typealias Stream = AsyncThrowingStream<ResponseItem, any Error>
    typealias Continuation = Stream.Continuation

    static func token(_ token: UInt32) -> ResponseItem {
        var buffer = ByteBuffer()
        buffer.writeStaticString(#"{"token_ids":["#)
        buffer.writeString(String(token))
        buffer.writeStaticString("]}")
        return .data(buffer)
    }

    /// The one token of a worker that only processes prompts, with what tells a decoding worker that it has.
    static func prefilled(_ token: UInt32) -> ResponseItem {
        .data(ByteBuffer(string: #"{"token_ids":[\#(token)],"disaggregated_params":{"engine":"mock"}}"#))
    }

    static func finish(_ reason: MockEngine.FinishReason) -> ResponseItem {
        .data(ByteBuffer(string: #"{"token_ids":[],"finish_reason":"\#(reason.rawValue)"}"#))
    }

    static func failure(_ error: RemoteError) -> Stream {
        let (stream, continuation) = Stream.makeStream()
        continuation.yield(.failure(error))
        continuation.finish()
        return stream
    }
}
