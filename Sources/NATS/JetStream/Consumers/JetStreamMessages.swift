/// The messages of a consumer, as long as the task reads them.
package struct JetStreamMessages: AsyncSequence, Sendable {
    package typealias Element = JetStreamMessage

    let consumer: JetStreamConsumer
    let limits: JetStreamConsumer.PullLimits

    package func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(reader: PullReader(self.consumer, self.limits))
    }

    package struct AsyncIterator: AsyncIteratorProtocol {
        let reader: PullReader

        package func next() async throws -> JetStreamMessage? { try await self.reader.next() }
    }
}
