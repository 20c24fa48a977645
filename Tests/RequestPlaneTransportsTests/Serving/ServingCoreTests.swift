import NIOCore
import NIOPosix
import RequestPlane
import TestSupport
import Testing

@testable import RequestPlaneTransports

/// What the servers of all planes share, without any plane.
@Suite struct ServingCoreTests {
    private func core(capacity: Int = 10, refusalCapacity: Int = 10) throws -> ServingCore {
        let core = ServingCore(
            capacity: capacity,
            callHome: CallHomeConnector(
                group: MultiThreadedEventLoopGroup.singleton,
                timeout: .seconds(1),
                security: ConnectionSecurity(TransportSecurity())
            ),
            refusals: .callHome,
            refusalCapacity: refusalCapacity,
            logger: quietLogger
        )
        let endpoint = ServedEndpoint(
            id: EndpointID(namespace: "n", component: "c", name: "e"),
            instance: InstanceID(rawValue: 1),
            handler: counting(to: 1)
        )
        _ = try core.endpoints.add(endpoint, paths: ["e"])
        return core
    }

    private func dispatch(_ path: String, _ core: ServingCore) -> ServingCore.Admission {
        // Nobody can be called home for this; it ends as soon as it is looked at.
        core.dispatch(path: path, headers: .fields([:]), payload: ByteBuffer())
    }

    @Test func `a flood of refusals is bounded, and what cannot be told is not acknowledged`() async throws {
        let core = try self.core(capacity: 1, refusalCapacity: 2)
        #expect(self.dispatch("e", core) == .accepted)
        #expect(self.dispatch("e", core) == .overloaded)
        #expect(self.dispatch("x", core) == .unknownEndpoint)
        for _ in 0..<100 {
            #expect(self.dispatch("e", core) == .dropped)
            #expect(self.dispatch("x", core) == .dropped)
        }
        let run = Task { try await core.run {} }
        try await eventually("there is room again") { self.dispatch("x", core) == .unknownEndpoint }
        try await eventually("the request has ended") { core.inFlight == 0 }
        await core.drain(deadline: .seconds(5))
        try await run.value
        #expect(self.dispatch("e", core) == .dropped)
    }

    @Test func `what waits behind the failure of a listener is not counted for ever`() async throws {
        let core = try self.core()
        core.listenerFailed(RequestPlaneError(.unavailable, "gone"))
        #expect(self.dispatch("e", core) == .accepted)
        #expect(self.dispatch("e", core) == .accepted)
        let error = await #expect(throws: RequestPlaneError.self) { try await core.run {} }
        #expect(error?.message == "gone")
        #expect(core.inFlight == 0)
        let start = ContinuousClock.now
        await core.drain(deadline: .seconds(30))
        #expect(ContinuousClock.now - start < .seconds(10))
    }
}
