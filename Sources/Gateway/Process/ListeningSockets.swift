import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// The sockets of a gateway that runs in another process: opened here, so that they outlive it.
package struct ListeningSockets: Sendable {
    /// In the order of the listeners.
    package private(set) var descriptors: [Int32] = []
    /// Files of Unix sockets that were made.
    package private(set) var files: [String] = []

    /// Takes sockets that are open.
    package init(_ descriptors: [Int32]) { self.descriptors = descriptors }

    /// Opens sockets: connections wait from then on until somebody accepts them.
    ///
    /// - Parameter listeners: where; inherited ones are taken as they are.
    /// - Throws: `GatewayError` with the one that cannot be opened; those that were opened before are closed again.
    package init(opening listeners: [GatewayListener]) throws(GatewayError) {
        for listener in listeners {
            do throws(GatewayError) {
                // Whoever serves would only find out later.
                if let files = listener.tls { _ = try CertificateStore(files, for: listener) }
                try GatewayListening.check(listener)
                self.descriptors.append(try Self.open(listener))
            } catch {
                self.close(removingFiles: true)
                throw error
            }
            if case .unix(let path, _, _) = listener { self.files.append(path) }
        }
    }

    /// Closes them.
    package func close(removingFiles: Bool) {
        if removingFiles { for file in self.files { unlink(file) } }
        for descriptor in self.descriptors { GatewayListening.close(descriptor) }
    }

    private static func open(_ listener: GatewayListener) throws(GatewayError) -> Int32 {
        do {
            switch listener {
            case .inherited(let descriptor, _, _): return descriptor
            case .unix(let path, let mode, _):
                let descriptor = try GatewayListening.bind(path, mode: mode)
                GatewayListening.listen(descriptor)
                return descriptor
            case .tcp(let host, let port, _):
                return try Self.open(try SocketAddress.makeAddressResolvingHost(host, port: port))
            }
        } catch { throw listener.error(error) }
    }

    private static func open(_ address: SocketAddress) throws -> Int32 {
        let family = CInt(address.protocol == .inet6 ? AF_INET6 : AF_INET)
        let descriptor = socket(family, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw IOError(errnoCode: errno, reason: "socket") }
        var on: CInt = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<CInt>.size))
        let isBound = address.withSockAddr { GatewayListening.bind(descriptor, $0, socklen_t($1)) } == 0
        guard isBound, GatewayListening.listen(descriptor) == 0 else {
            let error = IOError(errnoCode: errno, reason: "bind")
            GatewayListening.close(descriptor)
            throw error
        }
        return descriptor
    }
}
