import Deployment
import Discovery
import Logging
import NIOCore
import RequestPlane
import RequestPlaneTransports
import Supervisor

/// Asks an endpoint of every instance on the request plane itself, past the frontend.
struct PlaneProbe: Sendable {
    let plan: Plan
    let logger: Logger

    /// Understood by workers that take text and by those that take tokens: each ignores the other's fields.
    private static let question = ByteBuffer(
        string: """
            {"model":"probe","messages":[{"role":"user","content":"Hello"}],"max_tokens":1,"token_ids":[1],\
            "stop_conditions":{"max_tokens":1},"sampling_options":{},"output_options":{},"eos_token_ids":[],"annotations":[]}
            """
    )

    func probe(component: String, endpoint: String, namespace: String) async -> ProbeOutcome {
        do {
            let network = try NetworkManager(
                configuration: NetworkManager.Configuration(
                    environment: ["DYN_REQUEST_PLANE": self.plan.planes.request.rawValue],
                    logger: self.logger
                ),
                logger: self.logger
            )
            let instances = try await self.instances(of: component, endpoint, namespace)
            guard !instances.isEmpty else { return .failure("discovery has no instance of \(component).\(endpoint)") }
            return try await withThrowingTaskGroup(of: ProbeOutcome?.self) { group in
                group.addTask {
                    try await network.run()
                    return nil
                }
                group.addTask { await Self.ask(instances, through: network.client) }
                while let result = try await group.next() {
                    guard let outcome = result else { continue }
                    group.cancelAll()
                    return outcome
                }
                return .failure("the request plane ended")
            }
        } catch {
            return .failure("\(error)")
        }
    }

    private func instances(of component: String, _ endpoint: String, _ namespace: String) async throws -> [Instance] {
        guard let client = RegistrationCheck(plan: self.plan, logger: self.logger).client else { return [] }
        return try await client.snapshot(.exact(namespace)).instances.map(\.instance).filter {
            $0.endpoint.component == component && $0.endpoint.name == endpoint
        }
    }

    /// Any answer will do, also an error of the handler: it came over the plane.
    private static func ask(_ instances: [Instance], through client: any RequestPlaneClient) async -> ProbeOutcome {
        for instance in instances {
            let id = "probe-\(String(UInt64.random(in: 0...(.max)), radix: 16))"
            do {
                let answer = try await client.send(OutgoingRequest(id: id, payload: Self.question), to: instance)
                for try await _ in answer { break }
            } catch let error as RequestPlaneError where error.code == .remote {
                continue
            } catch {
                return .failure("instance \(instance.id) at \(instance.transport.value): \(error)")
            }
        }
        return .success
    }
}
