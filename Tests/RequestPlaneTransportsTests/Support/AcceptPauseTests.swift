import NIOCore
import RequestPlane
import TestSupport
import Testing

@testable import RequestPlaneTransports

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A process that has no descriptors left.
@Suite struct AcceptPauseTests {
    /// The lowest limit under which no descriptor is free; those above it stay open.
    private func limitWithoutRoom() -> Int {
        var descriptor: CInt = 0
        while fcntl(descriptor, F_GETFD) != -1 { descriptor += 1 }
        return Int(descriptor)
    }

    /// Connects a socket that exists already to a port on loopback.
    private func connect(_ descriptor: CInt, port: Int) -> CInt {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    /// Runs the body while no descriptor can be opened.
    private func withoutDescriptors(_ body: () async throws -> Void) async throws {
        var before = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before)
        var low = before
        low.rlim_cur = rlim_t(self.limitWithoutRoom())
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &low)
        defer { setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before) }
        try await body()
    }

    @Test func listenerPausesAndGoesOn() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(handler: counting(to: 1))
            let address = String(instance.transport.value.split(separator: "/")[0])
            let port = try #require(HostPort(address)?.port)
            let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(client) }
            try await self.withoutDescriptors {
                #expect(self.connect(client, port: port) == 0, "the kernel queues the connection")
                let start = (ContinuousClock.now, processorTime())
                try await eventually("time passes") { ContinuousClock.now - start.0 > .milliseconds(600) }
                #expect(processorTime() - start.1 < .milliseconds(150), "the listener spins")
            }
            var frame = try requestFrame(path: "nowhere", address: "127.0.0.1:1", codec: "json")
            let bytes = frame.readBytes(length: frame.readableBytes) ?? []
            #expect(send(client, bytes, bytes.count, 0) == bytes.count)
            var answer = [UInt8](repeating: 0, count: 4)
            try await eventually("the refusal has arrived") {
                recv(client, &answer, 4, Int32(MSG_DONTWAIT)) == 4
            }
        }
    }
}
