import FoundationEssentials
import NIOCore

/// The bodies of JetStream's requests and answers.
enum JetStreamJSON {
    static func encode(_ value: any Encodable) throws(JetStreamError) -> ByteBuffer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do { return ByteBuffer(bytes: try encoder.encode(value)) } catch {
            throw JetStreamError(.invalidArgument, "cannot write a JetStream request as JSON: \(error)")
        }
    }

    static func decode<Value: Decodable>(
        _ type: Value.Type,
        _ buffer: ByteBuffer,
        _ action: String
    ) throws(JetStreamError) -> Value {
        do { return try JSONDecoder().decode(type, from: Data(buffer.readableBytesView)) } catch {
            let text = Printable.text(String(buffer: buffer))
            throw JetStreamError(.damaged, "cannot \(action): the answer '\(text)' makes no sense: \(error)")
        }
    }
}

extension Duration {
    /// Whole nanoseconds, as JetStream counts time.
    var nanoseconds: Int64 {
        let (seconds, attoseconds) = self.components
        return min(seconds, Int64.max / 2_000_000_000) * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}
