import Deployment
import Testing

/// The units of a deployment, as text.
@Suite struct SystemdUnitsTests {
    private static func plan(
        executable: String = "/opt/dl/dynamo-worker",
        host: String = "0.0.0.0",
        port: Int = 8000,
        grace: Double = 20,
        gateway: GatewayPlan? = nil
    ) -> Plan {
        let worker = ReplicaPlan(
            process: "worker",
            name: "worker",
            role: .worker,
            executable: executable,
            workingDirectory: "/srv",
            stop: StopPlan(grace: grace),
            origin: "chat.yaml:7:3"
        )
        var frontend = worker
        frontend.process = "frontend"
        frontend.name = "frontend"
        frontend.executable = "/opt/dl/dynamo-frontend"
        frontend.dependencies = [Dependency(process: "worker", layer: .alive)]
        return Plan(
            deployment: "chat",
            planes: PlaneSet(request: .tcp, events: .none),
            namespace: "chat",
            discovery: .memory,
            publicAddress: HTTPAddress(host: host, port: port),
            gateway: gateway,
            directories: DeploymentDirectories(state: "/s", runtime: "/r"),
            replicas: [worker, frontend]
        )
    }

    private static func options(_ change: (inout SystemdUnits.Options) -> Void = { _ in }) -> SystemdUnits.Options {
        var options = SystemdUnits.Options(
            scope: .system,
            user: "ai",
            launcher: "/opt/dl/dynamo-launch",
            manifest: "/srv/chat.yaml",
            workingDirectory: "/srv"
        )
        change(&options)
        return options
    }

    private static func service(
        _ plan: Plan = Self.plan(),
        _ options: SystemdUnits.Options = Self.options()
    ) throws -> [String] {
        let file = try #require(try SystemdUnits(plan, options).files.first)
        #expect(file.name == "dynamo-launch-chat.service")
        return file.text.split(separator: "\n").map(String.init)
    }

    @Test func `what would outlive the launcher is no service`() throws {
        var plan = Self.plan()
        plan.survive = true
        #expect { try SystemdUnits(plan, Self.options()) } throws: {
            "\($0)".contains("/srv/chat.yaml: error: 'survive: true' has no meaning in a service")
        }
    }

    @Test func `a service notifies, is watched, and has the time that the manifest's graces take`() throws {
        let lines = try Self.service()
        // Two levels of 20 s and 5 s each, and 30 s for the launcher.
        for line in [
            "Type=notify", "ExecReload=/opt/dl/dynamo-launch apply --deployment chat",
            "ExecStart=/opt/dl/dynamo-launch up /srv/chat.yaml", "WorkingDirectory=/srv", "User=ai",
            "TimeoutStopSec=80s", "WatchdogSec=30s", "KillMode=mixed", "Restart=on-failure", "OOMPolicy=continue",
            "CapabilityBoundingSet=", "WantedBy=multi-user.target", "StateDirectory=dynamo-launch/chat",
            "RuntimeDirectory=dynamo-launch/chat",
        ] { #expect(lines.contains(line), "\(line)") }
        #expect(try Self.service(Self.plan(grace: 100.5)).contains("TimeoutStopSec=241s"))
        #expect(lines.contains("TimeoutStartSec=120s"))
        let waiting = try Self.service(Self.plan(), Self.options { $0.preflightTime = 45 })
        #expect(waiting.contains("TimeoutStartSec=165s"))
    }

    @Test func `the unit lets the launcher set the limits of processes`() throws {
        let lines = try Self.service()
        #expect(lines.contains("LimitNOFILE=65536"))
        #expect(lines.contains("ProtectControlGroups=yes"))
        #expect(!lines.contains { $0.hasPrefix("Delegate=") || $0.hasPrefix("LimitNICE=") })
        var plan = Self.plan()
        plan.replicas[0].limits = ProcessLimits(openFiles: 200_000, memory: 1 << 30, nice: -3)
        let limited = try Self.service(plan)
        for line in ["LimitNOFILE=200000", "LimitNICE=-3", "Delegate=memory", "ProtectControlGroups=no"] {
            #expect(limited.contains(line), "\(line)")
        }
    }

    @Test func `nothing closes the devices, so that GPUs stay reachable`() throws {
        let keys = try Self.service().compactMap { $0.split(separator: "=").first }
        for key in ["PrivateDevices", "ProtectClock", "DeviceAllow", "DevicePolicy", "MemoryDenyWriteExecute"] {
            #expect(!keys.contains(Substring(key)), "\(key)")
        }
    }

    @Test func `words are written so that systemd reads them back`() throws {
        let options = Self.options {
            $0.arguments = ["--set", "model=a b\"c\\d"]
            $0.extra = ["50%", "$HOME", "", "ü\n"]
            $0.environment = ["MODEL": "100% $x y"]
            $0.workingDirectory = "/srv/a b%"
        }
        let lines = try Self.service(Self.plan(), options)
        let command =
            #"ExecStart=/opt/dl/dynamo-launch up --set "model=a b\"c\\d" /srv/chat.yaml -- 50%% $$HOME "" "ü\n""#
        #expect(lines.contains(command))
        #expect(lines.contains(#"Environment="MODEL=100%% $x y""#))
        #expect(lines.contains("WorkingDirectory=/srv/a b%%"))
    }

    @Test func `a secret comes from a file that only systemd reads`() throws {
        let options = Self.options {
            $0.environment = ["HF_TOKEN": "hunter2", "MODEL": "m"]
            $0.secrets = ["HF_TOKEN"]
        }
        let lines = try Self.service(Self.plan(), options)
        #expect(lines.contains("LoadCredential=HF_TOKEN:/etc/dynamo-launch/chat/HF_TOKEN"))
        #expect(lines.contains("Environment=MODEL=m"))
        #expect(!lines.joined().contains("hunter2"))
    }

    @Test func `a port below 1024 needs a right, and only that one`() throws {
        let lines = try Self.service(Self.plan(port: 80))
        #expect(lines.contains("CapabilityBoundingSet=CAP_NET_BIND_SERVICE"))
        #expect(lines.contains("AmbientCapabilities=CAP_NET_BIND_SERVICE"))
    }

    @Test func `a user's service keeps to what a user's service manager may do`() throws {
        let lines = try Self.service(Self.plan(), Self.options { $0.scope = .user })
        #expect(lines.contains("WantedBy=default.target"))
        #expect(
            !lines.contains { $0.hasPrefix("User=") || $0.hasPrefix("PrivateTmp") || $0.hasPrefix("StateDirectory") }
        )
    }

    @Test func `with a gateway the public port outlives the launcher, and a service is never given up`() throws {
        let lines = try Self.service(Self.plan(gateway: GatewayPlan()))
        #expect(lines.contains("FileDescriptorStoreMax=16") && lines.contains("StartLimitIntervalSec=0"))
        #expect(!lines.contains { $0.hasPrefix("Requires=") || $0.hasPrefix("Also=") })
        #expect(try !Self.service().contains { $0.hasPrefix("FileDescriptorStoreMax") })
    }

    @Test func `a socket unit has the public port, and its service needs it`() throws {
        let plan = Self.plan(port: 80, gateway: GatewayPlan())
        let files = try SystemdUnits(plan, Self.options { ($0.hasSocket, $0.hasSlice) = (true, true) }).files
        #expect(
            files.map(\.name) == ["dynamo-launch-chat.service", "dynamo-launch-chat.socket", "dynamo-launch.slice"]
        )
        let service = files[0].text.split(separator: "\n")
        for line in [
            "Requires=dynamo-launch-chat.socket", "After=dynamo-launch-chat.socket", "Also=dynamo-launch-chat.socket",
            "StartLimitIntervalSec=0", "CapabilityBoundingSet=",
        ] { #expect(service.contains(Substring(line)), "\(line)") }
        #expect(!service.contains { $0.hasPrefix("FileDescriptorStoreMax") }, "systemd has the socket anyway")
        let socket = files[1].text.split(separator: "\n")
        for line in ["ListenStream=0.0.0.0:80", "FileDescriptorName=public", "WantedBy=sockets.target"] {
            #expect(socket.contains(Substring(line)), "\(line)")
        }
        #expect(socket[0].hasPrefix(SystemdUnits.mark))
    }

    @Test(arguments: [("::", "[::]:8000"), ("[::1]", "[::1]:8000"), ("localhost", "127.0.0.1:8000")])
    func `a socket unit has the manifest's address`(host: String, expected: String) throws {
        let plan = Self.plan(host: host, gateway: GatewayPlan())
        let files = try SystemdUnits(plan, Self.options { $0.hasSocket = true }).files
        #expect(files[1].text.contains("\nListenStream=\(expected)\n"), "\(files[1].text)")
    }

    @Test func `what systemd cannot listen for is an error that says what to do`() throws {
        let direct = #expect(throws: ManifestErrors.self) {
            try SystemdUnits(Self.plan(), Self.options { $0.hasSocket = true })
        }
        #expect(direct?.description.contains("write 'gateway: true', or leave out --socket") == true)
        let named = #expect(throws: ManifestErrors.self) {
            let plan = Self.plan(host: "gpu7.example", gateway: GatewayPlan())
            return try SystemdUnits(plan, Self.options { $0.hasSocket = true })
        }
        #expect(named?.description.contains("'gpu7.example' is a name") == true)
        let modes = #expect(throws: ManifestErrors.self) {
            let gateway = GatewayPlan(listeners: [.unix(path: "/a", mode: "0600"), .unix(path: "/b", mode: "0660")])
            return try SystemdUnits(Self.plan(gateway: gateway), Self.options { $0.hasSocket = true })
        }
        #expect(modes?.description.contains("have one mode") == true)
    }

    @Test func `a socket unit has all listeners of the manifest`() throws {
        let gateway = GatewayPlan(
            listeners: [.unix(path: "/run/a", mode: "0600"), .address(HTTPAddress(host: "::1", port: 9), tls: false)]
        )
        let files = try SystemdUnits(Self.plan(gateway: gateway), Self.options { $0.hasSocket = true }).files
        let lines = files[1].text.split(separator: "\n").filter { $0.hasPrefix("Listen") || $0.hasPrefix("Socket") }
        #expect(
            lines == [
                "ListenStream=0.0.0.0:8000", "ListenStream=[::1]:9", "ListenStream=/run/a", "SocketUser=ai",
                "SocketMode=0600",
            ]
        )
    }

    @Test func `the slice is written when it is asked for`() throws {
        let files = try SystemdUnits(Self.plan(), Self.options { $0.hasSlice = true }).files
        #expect(files.map(\.name) == ["dynamo-launch-chat.service", "dynamo-launch.slice"])
        #expect(files[0].text.contains("\nSlice=dynamo-launch.slice\n"))
    }

    @Test func `what a system service could not see is an error with its place`() throws {
        let error = #expect(throws: ManifestErrors.self) {
            try SystemdUnits(Self.plan(executable: "/tmp/worker"), Self.options())
        }
        #expect(
            error?.diagnostics.map(\.description) == [
                """
                chat.yaml:7:3: error: the program of 'worker' '/tmp/worker' is in /tmp, which a system service does not see \
                (PrivateTmp=yes)
                  remedy: move it, for example to /opt or /srv, or use --user
                """
            ]
        )
        #expect(throws: Never.self) {
            try SystemdUnits(Self.plan(executable: "/tmp/worker"), Self.options { $0.scope = .user })
        }
    }

    @Test func `files of the public port that a system service could not see are errors`() throws {
        var gateway = GatewayPlan(listeners: [.unix(path: "/tmp/http.sock", mode: "0660")])
        gateway.tls = GatewayPlan.TLS(certificate: "/var/tmp/c.pem", key: "/etc/k.pem")
        let error = #expect(throws: ManifestErrors.self) {
            try SystemdUnits(Self.plan(gateway: gateway), Self.options())
        }
        let texts = error?.diagnostics.map(\.description) ?? []
        #expect(texts.count == 2, "\(texts)")
        #expect(texts.first?.contains("the certificate '/var/tmp/c.pem' is in /var/tmp") == true, "\(texts)")
        #expect(texts.last?.contains("the socket '/tmp/http.sock' is in /tmp") == true, "\(texts)")
    }

    @Test func `a secret on the command line is an error`() throws {
        let error = #expect(throws: ManifestErrors.self) {
            try SystemdUnits(Self.plan(), Self.options { $0.arguments = ["--set", "env.API_KEY=hunter2"] })
        }
        #expect(error?.diagnostics.first?.location.file == "--set env.API_KEY")
        #expect(error?.description.contains("hunter2") == false)
        let looks = #expect(throws: ManifestErrors.self) {
            try SystemdUnits(
                Self.plan(),
                Self.options {
                    $0.arguments = ["--set", "env.DB=redis://u:hunter2@h"]
                    $0.extra = ["-v", "--password", "hunter2"]
                }
            )
        }
        #expect(looks?.diagnostics.count == 2)
        #expect(looks?.description.contains("argument 3 after '--' ('--password') has a secret in it") == true)
        #expect(looks?.description.contains("hunter2") == false)
    }
}
