import Discovery
import DynamoRuntime
import NIOCore
import RequestPlane
import RequestPlaneTransports

/// Finds an instance of `shout`, calls it on its plane, and prints the answer as it comes.
@main struct ShoutClient {
    static func main() async throws {
        let environment = try ProcessEnvironment(ProcessEnvironment.variables, label: "shout_client")
        let network = NetworkManager(configuration: environment.requestPlane, logger: environment.logger)
        let discovery = environment.runtime.makeDiscovery(logger: environment.logger)
        let known = try await discovery.snapshot(.exact(environment.runtime.namespace)).instances.map(\.instance)
        guard let instance = known.first(where: { $0.endpoint.name == "shout" }) else {
            throw RequestPlaneError(.noInstance, "nobody serves shout in \(environment.runtime.namespace)")
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await network.run() }
            let request = OutgoingRequest(id: "example", payload: ByteBuffer(string: #""hello over there""#))
            for try await item in try await network.client.send(request, to: instance) {
                if case .data(let json) = item { print(String(buffer: json)) }
            }
            group.cancelAll()
        }
    }
}
