import Deployment
import Gateway
import Glibc
import Systemd

/// What the public port listens on: sockets that were passed, or the addresses of the manifest.
struct PublicListeners: Sendable, Equatable {
    /// The sockets and the manifest exclude each other.
    struct Refusal: Error, CustomStringConvertible {
        let description: String
    }

    /// Empty when a frontend has the public port.
    private(set) var listeners: [GatewayListener] = []
    /// For each listener the name under which the service manager is to keep it; nil: it has it already.
    private(set) var names: [String?] = []
    /// Whether somebody else holds the sockets, and starts the launcher when a connection comes.
    private(set) var isActivated = false
    /// Where clients connect, when that is not the manifest's address.
    private(set) var address: HTTPAddress?
    /// Left over by an earlier launcher.
    private(set) var unused: [ListenDescriptor] = []
    /// What the user should know.
    private(set) var notes: [String] = []

    /// Decides.
    ///
    /// Sockets of a socket unit go before the manifest's addresses: whoever wrote the unit may have wanted more of them, and others.
    ///
    /// - Parameters:
    ///   - passed: what is open already.
    ///   - plan: what is to run.
    ///   - isThere: whether a Unix socket still has its file.
    /// - Throws: `Refusal` when there are sockets that nobody can take.
    init(
        _ passed: PassedSockets,
        plan: Plan,
        isThere: (String) -> Bool = { access($0, F_OK) == 0 }
    ) throws(Refusal) {
        self.unused = passed.stored
        guard let gateway = plan.gateway else {
            guard passed.activated.isEmpty else { throw Self.refusal(passed.activated) }
            self.noteUnused("a frontend opens the public port itself ('gateway: false')")
            return
        }
        let wanted = GatewayConfiguration(gateway, at: plan.publicAddress).listeners
        if passed.activated.isEmpty {
            for listener in wanted { self.listen(listener, isThere) }
            self.noteUnused("the manifest does not have it")
            guard gateway.idleExit != nil else { return }
            self.notes.append(
                "'gateway.idleExit' has no effect: no service manager holds the public socket; "
                    + "'dynamo-launch generate systemd --socket' writes units with which one does"
            )
        } else {
            self.take(passed.activated, insteadOf: wanted)
        }
    }

    private static func refusal(_ sockets: [ListenDescriptor]) -> Refusal {
        Refusal(
            description: "the service manager passed \(sockets.count == 1 ? "a socket" : "\(sockets.count) sockets"), "
                + "\(Self.words(sockets)), but a frontend opens the public port itself, and it cannot take them: "
                + "write 'gateway: true' in the manifest, or stop and disable the socket unit"
        )
    }

    private static func words(_ sockets: [ListenDescriptor]) -> String {
        sockets.map(\.description).joined(separator: ", ")
    }

    private mutating func take(_ sockets: [ListenDescriptor], insteadOf wanted: [GatewayListener]) {
        self.isActivated = true
        self.names = sockets.map { _ in nil }
        self.noteUnused("the service manager passed others")
        let places = sockets.map { Place($0.address) }
        // One that the manifest does not have is as secure as the public address.
        self.listeners = zip(sockets, places).map { socket, place in
            let same = wanted.first { Place($0) == place }
            let tls = same.map(\.tls) ?? (place.isUnix ? nil : wanted.first?.tls)
            return .inherited(descriptor: socket.descriptor, name: socket.name, tls: tls)
        }
        let addresses = sockets.map(HTTPAddress.init)
        self.address = addresses.first { $0.socketPath == nil } ?? addresses.first
        let missing = wanted.filter { listener in !places.contains { $0 == Place(listener) } }
        guard !missing.isEmpty else { return }
        self.notes.append(
            "the service manager passed \(Self.words(sockets)), so nobody listens on "
                + "\(missing.map(\.description).joined(separator: " and ")) of the manifest: change ListenStream= of the socket unit "
                + "to have that"
        )
    }

    private mutating func listen(_ listener: GatewayListener, _ isThere: (String) -> Bool) {
        let name: String
        switch listener {
        case .tcp(let host, let port, _): name = PassedSockets.name(host: host, port: port)
        case .unix(let path, _, _): name = PassedSockets.name(path: path)
        case .inherited: preconditionFailure("a manifest has no descriptors")
        }
        let kept = self.unused.firstIndex { socket in
            guard socket.name == name else { return false }
            // Nobody finds a Unix socket without its file.
            if case .unix(let path) = socket.address { return isThere(path) }
            return true
        }
        if let kept {
            let socket = self.unused.remove(at: kept)
            self.listeners.append(.inherited(descriptor: socket.descriptor, name: socket.name, tls: listener.tls))
            self.names.append(nil)
        } else {
            self.listeners.append(listener)
            self.names.append(name)
        }
    }

    private mutating func noteUnused(_ reason: String) {
        for socket in self.unused {
            self.notes.append("a socket that the service manager had kept, \(socket.place), is closed: \(reason)")
        }
    }

    /// Closes what is left over, and makes the service manager close it too.
    ///
    /// Returns when it has, so that an address that overlaps can be bound.
    ///
    /// - Throws: `SystemdError` when the service manager cannot be told.
    func discardUnused() throws(SystemdError) {
        for socket in self.unused {
            close(socket.descriptor)
            if case .unix(let path) = socket.address { unlink(path) }
        }
        for name in Set(self.unused.map(\.name)) { try DescriptorStore().remove(name: name) }
    }
}

/// Where a listener is, so that two that take the same clients are equal.
private enum Place: Equatable {
    case port(host: String, port: Int)
    case path(String)

    var isUnix: Bool { if case .path = self { true } else { false } }

    init(_ address: ListenDescriptor.Address) {
        switch address {
        case .tcp(let host, let port): self = .port(host: Self.plain(host), port: port)
        case .unix(let path): self = .path(path)
        }
    }

    init(_ listener: GatewayListener) {
        switch listener {
        case .tcp(let host, let port, _): self = .port(host: Self.plain(host), port: port)
        case .unix(let path, _, _): self = .path(path)
        case .inherited(_, let name, _): self = .path(name)
        }
    }

    private static func plain(_ host: String) -> String {
        switch host {
        case "", "0.0.0.0", "::", "[::]": "*"
        case "localhost": "127.0.0.1"
        default: host.filter { $0 != "[" && $0 != "]" }
        }
    }
}

extension ListenDescriptor {
    /// The address without the name.
    fileprivate var place: String {
        switch self.address {
        case .tcp(let host, let port): "\(host.contains(":") ? "[\(host)]" : host):\(port)"
        case .unix(let path): path
        }
    }
}

extension HTTPAddress {
    fileprivate init(_ socket: ListenDescriptor) {
        switch socket.address {
        case .tcp(let host, let port): self.init(host: host, port: port)
        case .unix(let path): self.init(host: "localhost", port: 0, socketPath: path)
        }
    }
}
