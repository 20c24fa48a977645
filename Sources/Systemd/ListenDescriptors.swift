internal import CSystemd
internal import Glibc

/// A listening socket that the service manager opened, or kept, for this process.
package struct ListenDescriptor: Sendable, Hashable {
    package enum Address: Sendable, Hashable {
        /// The host as numbers.
        case tcp(host: String, port: Int)
        /// A path, or a name that begins with `@` (abstract).
        case unix(path: String)
    }

    /// The open descriptor; close-on-exec is set.
    package var descriptor: Int32
    /// `FileDescriptorName=` of the unit (its own name unless set), or the name that it was stored under.
    package var name: String
    package var address: Address

    package init(descriptor: Int32, name: String, address: Address) {
        self.descriptor = descriptor
        self.name = name
        self.address = address
    }
}

extension ListenDescriptor: CustomStringConvertible {
    package var description: String {
        switch self.address {
        case .tcp(let host, let port):
            "\(self.name) (\(host.contains(":") ? "[\(host)]" : host):\(port))"
        case .unix(let path): "\(self.name) (\(path))"
        }
    }
}

/// Takes the sockets that were passed to this process (`sd_listen_fds_with_names(3)`).
package enum ListenDescriptors {
    /// Takes them, once: `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` are unset, and close-on-exec is set on each.
    ///
    /// To be called before other threads read the environment.
    ///
    /// - Returns: the sockets in the order of the unit; none when nothing was passed to this process.
    /// - Throws: `SystemdError` when the variables contradict each other or a descriptor is not a listening stream socket. All
    ///   that were passed are closed then.
    package static func take() throws(SystemdError) -> [ListenDescriptor] {
        let shown = ServiceEnvironment.excerpt("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
        var words: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = sd_listen_fds_with_names(1, &words)
        guard count >= 0 else {
            throw SystemdError(
                .badVariable,
                "the environment has \(shown), which does not fit the descriptors of this process "
                    + "(\(String(cString: strerror(-count)))): unset them, or start through systemd or systemd-socket-activate"
            )
        }
        defer {
            if let words {
                for index in 0..<Int(count) { free(words[index]) }
                free(words)
            }
        }
        // SD_LISTEN_FDS_START
        let passed: [(descriptor: Int32, name: String)] = (0..<count).map { index in
            (3 + index, words?[Int(index)].map { String(cString: $0) } ?? "unknown")
        }
        do throws(SystemdError) {
            var taken: [ListenDescriptor] = []
            for (descriptor, name) in passed { taken.append(try self.check(descriptor, name)) }
            return taken
        } catch {
            for (descriptor, _) in passed { close(descriptor) }
            throw error
        }
    }

    private static func check(_ descriptor: Int32, _ name: String) throws(SystemdError) -> ListenDescriptor {
        let subject = "descriptor \(descriptor) ('\(name)') that the service manager passed"
        func answer(_ result: Int32) throws(SystemdError) -> Bool {
            guard result >= 0 else {
                throw SystemdError(.badDescriptor, "\(subject) cannot be used: \(String(cString: strerror(-result)))")
            }
            return result > 0
        }
        let stream = Int32(SOCK_STREAM.rawValue)
        guard try answer(sd_is_socket(descriptor, AF_UNSPEC, 0, -1)) else {
            throw SystemdError(
                .badDescriptor,
                "\(subject) is no socket: in its socket unit, use ListenStream=, not ListenFIFO=, ListenSpecial= or others"
            )
        }
        guard try answer(sd_is_socket(descriptor, AF_UNSPEC, stream, -1)) else {
            throw SystemdError(
                .badDescriptor,
                "\(subject) is no stream socket: in its socket unit, use ListenStream=, not ListenDatagram= or "
                    + "ListenSequentialPacket="
            )
        }
        guard try answer(sd_is_socket(descriptor, AF_UNSPEC, stream, 1)) else {
            throw SystemdError(
                .badDescriptor,
                "\(subject) is a connection, not a listener: in its socket unit, set Accept=no"
            )
        }
        if try answer(sd_is_socket(descriptor, AF_UNIX, stream, 1)) {
            return ListenDescriptor(descriptor: descriptor, name: name, address: .unix(path: Self.path(of: descriptor)))
        }
        let isVersion4 = try answer(sd_is_socket(descriptor, AF_INET, stream, 1))
        let isInternet = try isVersion4 ? true : answer(sd_is_socket(descriptor, AF_INET6, stream, 1))
        guard isInternet, let (host, port) = Self.endpoint(of: descriptor) else {
            throw SystemdError(
                .badDescriptor,
                "\(subject) is neither TCP nor Unix: in its socket unit, give ListenStream= a port, an address or a path"
            )
        }
        return ListenDescriptor(descriptor: descriptor, name: name, address: .tcp(host: host, port: port))
    }

    private static func path(of descriptor: Int32) -> String {
        var address = sockaddr_un()
        var length = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        let offset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
        guard result == 0, Int(length) > offset else { return "" }
        return withUnsafeBytes(of: address) { bytes in
            let path = bytes[offset..<min(Int(length), bytes.count)]
            guard path.first == 0 else { return String(decoding: path.prefix { $0 != 0 }, as: UTF8.self) }
            return "@" + String(decoding: path.dropFirst(), as: UTF8.self)
        }
    }

    private static func endpoint(of descriptor: Int32) -> (host: String, port: Int)? {
        var address = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                guard getsockname(descriptor, address, &length) == 0 else { return nil }
                var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
                var service = [CChar](repeating: 0, count: Int(NI_MAXSERV))
                let flags = NI_NUMERICHOST | NI_NUMERICSERV
                guard
                    getnameinfo(
                        address,
                        length,
                        &host,
                        socklen_t(host.count),
                        &service,
                        socklen_t(service.count),
                        flags
                    ) == 0,
                    let port = Int(Self.text(service))
                else { return nil }
                return (Self.text(host), port)
            }
        }
    }

    private static func text(_ characters: [CChar]) -> String {
        String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
