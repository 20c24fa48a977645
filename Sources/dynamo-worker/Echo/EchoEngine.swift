import Discovery
import DynamoRuntime
import RequestPlane

/// Answers a request with its own last user message.
struct EchoEngine: Sendable {
    let contextLength: Int
    /// Tokens per second; 0 is as fast as possible.
    let rate: Double

    /// Makes the answer.
    ///
    /// A request that cannot be served becomes an error inside the stream, not a refusal: Dynamo 1.2 takes a refusal for a broken
    /// worker and leaves it out of its routing.
    func answer(_ request: IncomingRequest) -> EchoStream {
        do throws(RemoteError) {
            let echo = try EchoRequest(parsing: request.payload)
            let plan = try EchoPlan(request: echo, contextLength: self.contextLength)
            let writer = ChunkWriter(kind: echo.kind, requestID: request.id, model: plan.model)
            return EchoStream(plan: plan, writer: writer, interval: self.rate > 0 ? .seconds(1 / self.rate) : nil)
        } catch {
            return EchoStream(failure: error)
        }
    }
}
