import Glibc
import Synchronization

/// A port that nobody listened on a moment ago, and that nobody takes by chance.
///
/// It is above the ports that the system picks for sockets that ask for any (`ip_local_port_range`), and above those that launchers
/// lease: a process that is away for a moment finds its port again.
///
/// - Returns: the port; another one each time.
/// - Throws: `NoFreePort` when the system has none.
package func freePort() throws -> Int {
    try FreePorts.shared.next()
}

private final class FreePorts: Sendable {
    static let shared = FreePorts()

    /// Tests that run at the same time in another process have the other half: neither knows what the other was given.
    private static let range =
        switch getenv("DYNAMO_TEST_PORTS").map({ String(cString: $0) }) {
        case "lower": 61000...63267
        case "upper": 63268...65535
        default: 61000...65535
        }

    private let given: Mutex<Set<Int>> = Mutex([])

    func next() throws -> Int {
        try self.given.withLock { given in
            // Tests of one run need far fewer; what was given long ago may be given again.
            if given.count > Self.range.count / 2 { given = [] }
            for port in Self.range.shuffled() where !given.contains(port) && Self.isFree(port) {
                given.insert(port)
                return port
            }
            throw NoFreePort()
        }
    }

    private static func isFree(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        // On every interface, since a gateway listens there.
        address.sin_addr.s_addr = UInt32(INADDR_ANY).bigEndian
        return withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}

/// The system has no free port.
package struct NoFreePort: Error {
    package init() {}
}
