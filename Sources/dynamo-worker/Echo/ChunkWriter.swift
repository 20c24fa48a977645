import Discovery
import DynamoRuntime
import Glibc
import NIOCore
import RequestPlane

/// Writes the chunks of one answer; what all of them share is written once.
struct ChunkWriter: Sendable {
    private let kind: TextRequestKind
    private let head: ByteBuffer

    init(kind: TextRequestKind, requestID: String, model: String, created: Int = time(nil)) {
        self.kind = kind
        var head = Array(#"{"id":"#.utf8)
        JSONWriter.append("\(kind.idPrefix)-\(requestID)", to: &head)
        head.append(contentsOf: #","object":"\#(kind.chunkObject)","created":\#(created),"model":"#.utf8)
        JSONWriter.append(model, to: &head)
        head.append(contentsOf: #","choices":["#.utf8)
        self.head = ByteBuffer(bytes: head)
    }

    /// The token at a step, of each choice that still has one.
    func tokens(of choices: [EchoPlan.Choice], at step: Int) -> ByteBuffer {
        self.chunk { chunk in
            var isFirstChoice = true
            for (index, choice) in choices.enumerated() where step < choice.tokens.count {
                if !isFirstChoice { chunk.writeStaticString(",") }
                isFirstChoice = false
                chunk.writeStaticString(#"{"index":"#)
                chunk.writeString(String(index))
                switch self.kind {
                case .chat:
                    chunk.writeStaticString(
                        step == 0 ? #","delta":{"role":"assistant","content":"# : #","delta":{"content":"#
                    )
                    chunk.writeJSONString(String(choice.tokens[step]))
                    chunk.writeStaticString("}")
                case .completions:
                    chunk.writeStaticString(#","text":"#)
                    chunk.writeJSONString(String(choice.tokens[step]))
                }
                chunk.writeStaticString(#","finish_reason":null}"#)
            }
        }
    }

    /// Why each choice ended.
    func finish(_ reasons: [EchoPlan.FinishReason]) -> ByteBuffer {
        self.chunk { chunk in
            for (index, reason) in reasons.enumerated() {
                if index > 0 { chunk.writeStaticString(",") }
                let content = self.kind == .chat ? #""delta":{}"# : #""text":"""#
                chunk.writeString(#"{"index":\#(index),\#(content),"finish_reason":"\#(reason.rawValue)"}"#)
            }
        }
    }

    /// The numbers at the end.
    func usage(prompt: Int, completion: Int) -> ByteBuffer {
        var chunk = self.start()
        let numbers =
            #""prompt_tokens":\#(prompt),"completion_tokens":\#(completion),"total_tokens":\#(prompt + completion)"#
        chunk.writeString(#"],"usage":{\#(numbers)}}"#)
        return chunk
    }

    private func chunk(_ choices: (inout ByteBuffer) -> Void) -> ByteBuffer {
        var chunk = self.start()
        choices(&chunk)
        chunk.writeStaticString("]}")
        return chunk
    }

    /// The head, with room for the rest.
    private func start() -> ByteBuffer {
        var chunk = ByteBuffer()
        chunk.reserveCapacity(self.head.readableBytes + 128)
        chunk.writeImmutableBuffer(self.head)
        return chunk
    }
}
