import Deployment
import Gateway
import Systemd
import Testing

@testable import dynamo_launch

/// Which sockets the public port gets.
@Suite struct PublicListenersTests {
    private static func plan(_ gateway: GatewayPlan? = GatewayPlan(), host: String = "0.0.0.0") -> Plan {
        Plan(
            deployment: "d",
            planes: PlaneSet(request: .tcp, events: .none),
            namespace: "n",
            discovery: .memory,
            publicAddress: HTTPAddress(host: host, port: 8000),
            gateway: gateway,
            directories: DeploymentDirectories(state: "/s", runtime: "/r"),
            replicas: []
        )
    }

    private static func tcp(
        _ descriptor: Int32,
        _ host: String,
        _ port: Int,
        _ name: String = "public"
    ) -> ListenDescriptor {
        ListenDescriptor(descriptor: descriptor, name: name, address: .tcp(host: host, port: port))
    }

    private static let unix = ListenDescriptor(descriptor: 4, name: "local", address: .unix(path: "/run/d.sock"))

    private static func stored(_ descriptor: Int32, _ host: String, _ port: Int) -> ListenDescriptor {
        self.tcp(descriptor, host, port, PassedSockets.name(host: host, port: port))
    }

    @Test func `without sockets the manifest's address is opened, and left with the service manager`() throws {
        let listeners = try PublicListeners(PassedSockets(), plan: Self.plan())
        #expect(listeners.listeners == [.tcp(host: "0.0.0.0", port: 8000)])
        #expect(listeners.names == ["dynamo-launch/public/tcp/0.0.0.0/8000"])
        #expect(!listeners.isActivated && listeners.address == nil && listeners.notes.isEmpty)
    }

    @Test func `sockets of a unit go before the manifest's address, which is said when it differs`() throws {
        let same = try PublicListeners(
            PassedSockets(activated: [Self.tcp(3, "::", 8000), Self.unix]),
            plan: Self.plan()
        )
        #expect(
            same.listeners == [.inherited(descriptor: 3, name: "public"), .inherited(descriptor: 4, name: "local")]
        )
        #expect(same.names == [nil, nil])
        #expect(same.isActivated && same.notes.isEmpty)
        #expect(same.address == HTTPAddress(host: "::", port: 8000))

        for sockets in [[Self.tcp(3, "0.0.0.0", 9000)], [Self.tcp(3, "127.0.0.1", 8000)], [Self.unix]] {
            let other = try PublicListeners(PassedSockets(activated: sockets), plan: Self.plan())
            #expect(other.isActivated && other.listeners.count == 1)
            let note = try #require(other.notes.first)
            #expect(
                note.hasPrefix("the service manager passed \(sockets[0]), so nobody listens on 0.0.0.0:8000"),
                "\(note)"
            )
            #expect(note.contains("change ListenStream= of the socket unit"))
        }
        let onlyUnix = try PublicListeners(PassedSockets(activated: [Self.unix]), plan: Self.plan())
        #expect(onlyUnix.address?.localURL == "unix:/run/d.sock")
    }

    @Test func `a frontend cannot take sockets, which says what to do`() throws {
        let error = #expect(throws: PublicListeners.Refusal.self) {
            try PublicListeners(PassedSockets(activated: [Self.tcp(3, "::", 8000), Self.unix]), plan: Self.plan(nil))
        }
        let text = try #require(error).description
        #expect(text.contains("2 sockets, public ([::]:8000), local (/run/d.sock)"), "\(text)")
        #expect(text.contains("write 'gateway: true' in the manifest, or stop and disable the socket unit"), "\(text)")
    }

    @Test func `the socket that the launcher before has left is taken, others are dropped`() throws {
        let (mine, other) = (Self.stored(3, "0.0.0.0", 8000), Self.stored(4, "127.0.0.1", 9000))
        let listeners = try PublicListeners(PassedSockets(stored: [other, mine]), plan: Self.plan())
        #expect(listeners.listeners == [.inherited(descriptor: 3, name: mine.name)])
        #expect(listeners.names == [nil], "it is with the service manager already")
        #expect(listeners.unused == [other] && !listeners.isActivated)
        #expect(
            listeners.notes == [
                "a socket that the service manager had kept, 127.0.0.1:9000, is closed: the manifest does not have it"
            ]
        )
        // The same port on other addresses is another socket.
        let moved = try PublicListeners(PassedSockets(stored: [mine]), plan: Self.plan(host: "127.0.0.1"))
        #expect(moved.listeners == [.tcp(host: "127.0.0.1", port: 8000)] && moved.unused == [mine])
    }

    @Test func `stored sockets go when a unit has the port, and when a frontend has it`() throws {
        let stored = Self.stored(3, "0.0.0.0", 8000)
        let passed = PassedSockets(activated: [Self.tcp(4, "0.0.0.0", 8000)], stored: [stored])
        let activated = try PublicListeners(passed, plan: Self.plan())
        #expect(activated.unused == [stored] && activated.listeners == [.inherited(descriptor: 4, name: "public")])
        let direct = try PublicListeners(PassedSockets(stored: [stored]), plan: Self.plan(nil))
        #expect(direct.unused == [stored] && direct.listeners.isEmpty && direct.notes.count == 1)
    }

    @Test func `an idle exit that can have no effect is said`() throws {
        let plan = Self.plan(GatewayPlan(idleExit: 60))
        for passed in [PassedSockets(), PassedSockets(stored: [Self.stored(3, "0.0.0.0", 8000)])] {
            let notes = try PublicListeners(passed, plan: plan).notes
            #expect(notes.count == 1 && notes[0].contains("'gateway.idleExit' has no effect"), "\(notes)")
        }
        #expect(try PublicListeners(PassedSockets(activated: [Self.tcp(3, "::", 8000)]), plan: plan).notes.isEmpty)
    }

    @Test func `further listeners are opened and kept like the first, a Unix socket only while its file is there`()
        throws
    {
        let path = "/run/d.sock"
        let plan = Self.plan(GatewayPlan(listeners: [.unix(path: path, mode: "0600")]))
        let fresh = try PublicListeners(PassedSockets(), plan: plan)
        #expect(fresh.listeners == [.tcp(host: "0.0.0.0", port: 8000), .unix(path: path, mode: 0o600)])
        #expect(fresh.names == ["dynamo-launch/public/tcp/0.0.0.0/8000", "dynamo-launch/public/unix//run/d.sock"])

        let kept = ListenDescriptor(descriptor: 4, name: PassedSockets.name(path: path), address: .unix(path: path))
        let passed = PassedSockets(stored: [kept])
        let again = try PublicListeners(passed, plan: plan) { $0 == path }
        #expect(again.listeners[1] == .inherited(descriptor: 4, name: kept.name) && again.unused.isEmpty)
        let gone = try PublicListeners(passed, plan: plan) { _ in false }
        #expect(gone.listeners[1] == .unix(path: path, mode: 0o600) && gone.unused == [kept])
    }

    @Test func `passed sockets speak TLS where the manifest's do`() throws {
        let gateway = GatewayPlan(
            tls: GatewayPlan.TLS(certificate: "/c", key: "/k"),
            listeners: [
                .address(HTTPAddress(host: "127.0.0.1", port: 8001), tls: false), .unix(path: "/a", mode: "0660"),
            ]
        )
        let files = GatewayTLS(certificatePath: "/c", keyPath: "/k")
        let sockets = [
            Self.tcp(3, "::", 8000), Self.unix, Self.tcp(5, "127.0.0.1", 8001), Self.tcp(6, "127.0.0.1", 9000),
        ]
        let listeners = try PublicListeners(PassedSockets(activated: sockets), plan: Self.plan(gateway))
        #expect(listeners.listeners.map(\.tls) == [files, nil, nil, files])
        #expect(listeners.notes.count == 1 && listeners.notes[0].contains("nobody listens on the Unix socket /a"))
    }

    @Test func `every name is one that a service manager takes`() {
        let name = PassedSockets.name(host: "[::1]\n" + String(repeating: "x", count: 300), port: 65535)
        #expect(name.hasPrefix("dynamo-launch/public/tcp/[__1]_x") && name.utf8.count < 255, "\(name)")
        #expect(!name.contains(":"))
    }
}
