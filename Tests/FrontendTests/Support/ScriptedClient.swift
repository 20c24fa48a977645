import NIOCore
import RequestPlane
import Synchronization

/// A request plane whose workers do what a test says.
final class ScriptedClient: RequestPlaneClient {
    /// What a worker does with a request.
    enum Step: Sendable {
        case item(ResponseItem)
        case error(RequestPlaneError)
        /// Nothing until the reader is cancelled.
        case silence
    }

    struct Sent: Sendable, Hashable {
        var instance: UInt64
        var payload: String
        var headers: [String: String]
    }

    private let script: @Sendable (Instance) throws(RequestPlaneError) -> [Step]
    /// What happens while a request is on its way to a worker; nil: nothing.
    let onTheWay = Mutex<(@Sendable (Instance) async -> Void)?>(nil)
    let sent = Mutex<[Sent]>([])
    let cancelled = Mutex(0)

    init(_ script: @escaping @Sendable (Instance) throws(RequestPlaneError) -> [Step]) { self.script = script }

    func send(_ request: OutgoingRequest, to instance: Instance) async throws(RequestPlaneError) -> ResponseStream {
        self.sent.withLock {
            $0.append(
                Sent(instance: instance.id.rawValue, payload: String(buffer: request.payload), headers: request.headers)
            )
        }
        if let onTheWay = self.onTheWay.withLock({ $0 }) { await onTheWay(instance) }
        let steps = try self.script(instance)
        if let buffer = Self.buffer(steps) { return ResponseStream(buffer) }
        return ResponseStream(Answer(steps: steps, client: self))
    }

    /// Several items that have come at once, as from a transport; nil for everything else.
    private static func buffer(_ steps: [Step]) -> ResponseBuffer? {
        guard steps.count > 1 else { return nil }
        let buffer = ResponseBuffer()
        var items: [ResponseItem] = []
        var failure: PlaneFailure?
        for step in steps {
            switch step {
            case .item(let item): items.append(item)
            case .error(let error): failure = PlaneFailure(error.code, error.message)
            case .silence: return nil
            }
        }
        buffer.accept()
        _ = buffer.yield(items)
        buffer.finish(failure)
        return buffer
    }

    private struct Answer: AsyncSequence, Sendable {
        typealias Element = ResponseItem
        typealias Failure = any Error
        let steps: [Step]
        let client: ScriptedClient

        func makeAsyncIterator() -> Iterator { Iterator(steps: self.steps[...], client: self.client) }

        struct Iterator: AsyncIteratorProtocol {
            var steps: ArraySlice<Step>
            let client: ScriptedClient

            mutating func next() async throws -> ResponseItem? {
                switch self.steps.popFirst() {
                case nil: return nil
                case .item(let item): return item
                case .error(let error): throw error
                case .silence:
                    do { try await Task.sleep(for: .seconds(600)) } catch {
                        self.client.cancelled.withLock { $0 += 1 }
                        throw RequestPlaneError(.cancelled, "cancelled")
                    }
                    return nil
                }
            }
        }
    }
}

extension ScriptedClient.Step {
    /// A chunk of a chat.
    static func chunk(_ content: String) -> Self {
        .item(
            .data(
                ByteBuffer(string: #"{"id":"i","model":"m","choices":[{"index":0,"delta":{"content":"\#(content)"}}]}"#)
            )
        )
    }
}
