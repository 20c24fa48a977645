import Discovery
import DynamoRuntime
import Glibc
import NIOCore

/// Writes the chunks of one answer; what all of them share is written once.
struct ChunkWriter: Sendable {
    private let kind: TextRequestKind
    private let head: [UInt8]

    init(kind: TextRequestKind, requestID: String, model: String, created: Int = time(nil)) {
        self.kind = kind
        var head = Array(#"{"id":"#.utf8)
        JSONWriter.append("\(kind.idPrefix)-\(requestID)", to: &head)
        head.append(contentsOf: #","object":"\#(kind.chunkObject)","created":\#(created),"model":"#.utf8)
        JSONWriter.append(model, to: &head)
        head.append(contentsOf: #","choices":["#.utf8)
        self.head = head
    }

    /// The next token of each choice that still has one.
    func tokens(_ tokens: [(index: Int, text: Substring)], isFirst: Bool) -> ByteBuffer {
        self.chunk { bytes in
            for (position, token) in tokens.enumerated() {
                if position > 0 { bytes.append(UInt8(ascii: ",")) }
                bytes.append(contentsOf: #"{"index":\#(token.index),"#.utf8)
                switch self.kind {
                case .chat:
                    bytes.append(
                        contentsOf: (isFirst ? #""delta":{"role":"assistant","content":"# : #""delta":{"content":"#)
                            .utf8
                    )
                    JSONWriter.append(String(token.text), to: &bytes)
                    bytes.append(UInt8(ascii: "}"))
                case .completions:
                    bytes.append(contentsOf: #""text":"#.utf8)
                    JSONWriter.append(String(token.text), to: &bytes)
                }
                bytes.append(contentsOf: #","finish_reason":null}"#.utf8)
            }
        }
    }

    /// Why each choice ended.
    func finish(_ reasons: [EchoPlan.FinishReason]) -> ByteBuffer {
        self.chunk { bytes in
            for (index, reason) in reasons.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                let content = self.kind == .chat ? #""delta":{}"# : #""text":"""#
                bytes.append(contentsOf: #"{"index":\#(index),\#(content),"finish_reason":"\#(reason.rawValue)"}"#.utf8)
            }
        }
    }

    /// The numbers at the end.
    func usage(prompt: Int, completion: Int) -> ByteBuffer {
        var bytes = self.head
        let numbers =
            #""prompt_tokens":\#(prompt),"completion_tokens":\#(completion),"total_tokens":\#(prompt + completion)"#
        bytes.append(contentsOf: #"],"usage":{\#(numbers)}}"#.utf8)
        return ByteBuffer(bytes: bytes)
    }

    private func chunk(_ choices: (inout [UInt8]) -> Void) -> ByteBuffer {
        var bytes = self.head
        bytes.reserveCapacity(self.head.count + 128)
        choices(&bytes)
        bytes.append(contentsOf: "]}".utf8)
        return ByteBuffer(bytes: bytes)
    }
}
