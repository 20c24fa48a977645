import Glibc
import TestSupport

/// A port where connections are accepted by the system and nothing is ever said.
struct SilentListener {
    let port: Int
    private let descriptor: Int32

    init() throws {
        self.port = try freePort()
        self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        address.sin_port = UInt16(self.port).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(self.descriptor, pointer, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0, listen(self.descriptor, 16) == 0 else { throw NoFreePort() }
    }

    func close() { _ = Glibc.close(self.descriptor) }
}
