import RequestPlane
import TestSupport
import Testing

@Suite struct InProcessConformanceTests {
    @Test(arguments: ConformanceCheck.all)
    func conforms(_ check: ConformanceCheck) async throws { try await check.run(on: InProcessTransport()) }
}

private struct InProcessTransport: ConformanceTransport {
    let manyStreams = 10_000

    func makeEnds(_ options: ConformanceOptions) async throws -> ConformanceEnds {
        let plane = InProcessPlane(capacity: options.capacity ?? .max)
        return ConformanceEnds(
            server: plane.server,
            client: plane.client,
            statistics: { plane.statistics },
            runServer: { try await plane.server.run() },
            drainServer: { await plane.server.drain(deadline: $0) }
        )
    }
}
