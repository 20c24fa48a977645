import Deployment
import Gateway
import Glibc
import Systemd

/// What the public port listens on: sockets that were passed, or the address of the manifest.
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
    /// Sockets of a socket unit go before the manifest's address: whoever wrote the unit may have wanted more of them, and others.
    ///
    /// - Parameters:
    ///   - passed: what is open already.
    ///   - plan: what is to run.
    /// - Throws: `Refusal` when there are sockets that nobody can take.
    init(_ passed: PassedSockets, plan: Plan) throws(Refusal) {
        self.unused = passed.stored
        guard let gateway = plan.gateway else {
            guard passed.activated.isEmpty else { throw Self.refusal(passed.activated) }
            self.noteUnused("a frontend opens the public port itself ('gateway: false')")
            return
        }
        if passed.activated.isEmpty {
            self.listen(on: plan.publicAddress)
            if gateway.idleExit != nil {
                self.notes.append(
                    "'gateway.idleExit' has no effect: no service manager holds the public socket; "
                        + "'dynamo-launch generate systemd --socket' writes units with which one does"
                )
            }
        } else {
            self.take(passed.activated, insteadOf: plan.publicAddress)
        }
    }

    private static func refusal(_ sockets: [ListenDescriptor]) -> Refusal {
        let names = sockets.map(\.description).joined(separator: ", ")
        return Refusal(
            description:
                "the service manager passed \(sockets.count == 1 ? "a socket" : "\(sockets.count) sockets"), \(names), "
                + "but a frontend opens the public port itself, and it cannot take them: write 'gateway: true' in the manifest, "
                + "or stop and disable the socket unit"
        )
    }

    private mutating func take(_ sockets: [ListenDescriptor], insteadOf wanted: HTTPAddress) {
        self.isActivated = true
        self.listeners = sockets.map { .inherited(descriptor: $0.descriptor, name: $0.name) }
        self.names = sockets.map { _ in nil }
        self.noteUnused("the service manager passed others")
        let addresses = sockets.map(HTTPAddress.init)
        self.address = addresses.first { $0.socketPath == nil } ?? addresses.first
        guard !addresses.contains(where: { $0.isSame(as: wanted) }) else { return }
        let names = sockets.map(\.description).joined(separator: ", ")
        self.notes.append(
            "the public address is what the service manager passed, \(names), and not \(wanted.host):\(wanted.port) of the "
                + "manifest: to use that, change ListenStream= of the socket unit"
        )
    }

    private mutating func listen(on address: HTTPAddress) {
        let name = PassedSockets.name(host: address.host, port: address.port)
        if let index = self.unused.firstIndex(where: { $0.name == name }) {
            let kept = self.unused.remove(at: index)
            self.listeners = [.inherited(descriptor: kept.descriptor, name: kept.name)]
            self.names = [nil]
        } else {
            self.listeners = [.tcp(host: address.host, port: address.port)]
            self.names = [name]
        }
        self.noteUnused("the manifest's address is \(address.host):\(address.port)")
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
        for socket in self.unused { close(socket.descriptor) }
        for name in Set(self.unused.map(\.name)) { try DescriptorStore().remove(name: name) }
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

    /// Whether clients of one are clients of the other.
    fileprivate func isSame(as other: HTTPAddress) -> Bool {
        self.socketPath == other.socketPath && self.port == other.port && self.plainHost == other.plainHost
    }

    private var plainHost: String {
        switch self.host {
        case "", "0.0.0.0", "::", "[::]": "*"
        case "localhost", "127.0.0.1": "127.0.0.1"
        default: self.host.filter { $0 != "[" && $0 != "]" }
        }
    }
}
