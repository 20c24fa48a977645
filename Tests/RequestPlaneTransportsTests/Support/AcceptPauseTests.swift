import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A process that has no descriptors left.
@Suite struct AcceptPauseTests {
    private var openDescriptors: Int {
        guard let folder = opendir("/proc/self/fd") else { return 0 }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        // Less `.`, `..` and the folder's own.
        return count - 3
    }

    /// Runs the body while only so many more descriptors can be opened.
    private func withDescriptors(_ more: Int, _ body: () async throws -> Void) async throws {
        var before = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before)
        var low = before
        low.rlim_cur = rlim_t(self.openDescriptors + more)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &low)
        defer { setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before) }
        try await body()
    }

    @Test func listenerPausesAndGoesOn() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(handler: counting(to: 1))
            let address = String(instance.transport.value.split(separator: "/")[0])
            // The event loops and the resolver have what they need now.
            try await RawSocket.connect(to: address).close()
            try await eventually("the first connection is gone") { loopback.manager.server.inFlight == 0 }
            var clients: [RawSocket] = []
            try await self.withDescriptors(3) {
                clients.append(try await RawSocket.connect(to: address))
                clients.append(try await RawSocket.connect(to: address))
                let start = (ContinuousClock.now, processorTime())
                try await eventually("time passes") { ContinuousClock.now - start.0 > .milliseconds(600) }
                #expect(processorTime() - start.1 < .milliseconds(300), "the listener spins")
            }
            for client in clients {
                try await client.send(try requestFrame(path: "nowhere", address: "127.0.0.1:1", codec: "json"))
                try await client.waitForBytes(4)
                try await client.close()
            }
        }
    }
}
