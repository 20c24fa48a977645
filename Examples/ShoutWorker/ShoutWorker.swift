import DynamoRuntime
import NIOCore
import RequestPlane

/// Serves `backend.shout`: a JSON text comes back word by word, in capitals.
@main struct ShoutWorker {
    static func main() async throws {
        let environment = try ProcessEnvironment(ProcessEnvironment.variables, label: "shout_worker")
        let runtime = RuntimeService(environment) { runtime in
            let name = EndpointID(namespace: runtime.configuration.workerNamespace, component: "backend", name: "shout")
            let endpoint = RuntimeService.Endpoint(id: name, card: nil) { request in
                let words = String(buffer: request.payload).uppercased().split { "\" ".contains($0) }
                return AsyncThrowingStream { answer in
                    for word in words { answer.yield(.data(ByteBuffer(string: "\"\(word)\""))) }
                    answer.finish()
                }
            }
            try await runtime.serve([endpoint])
        }
        try await ProcessRunner.run(runtime, logger: environment.logger)
    }
}
