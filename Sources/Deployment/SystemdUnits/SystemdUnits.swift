/// A deployment as units of systemd.
package struct SystemdUnits: Sendable, Hashable {
    /// Which service manager runs it.
    package enum Scope: String, Sendable, Hashable {
        case system, user
    }

    /// What the units have to know beside the manifest.
    package struct Options: Sendable, Hashable {
        package var scope: Scope
        /// The account of a system service.
        package var user: String
        /// Absolute path of this launcher.
        package var launcher: String
        /// What `up` gets before the manifest, such as `--nats`.
        package var arguments: [String]
        /// Absolute; nil: the embedded deployment.
        package var manifest: String?
        /// What follows `--`.
        package var extra: [String]
        /// Absolute.
        package var workingDirectory: String
        /// What the manifest and the search for programs need of the caller's environment, without secrets.
        package var environment: [String: String]
        /// Variables that hold secrets: each comes from a file that only the service manager reads.
        package var secrets: Set<String>
        /// Whether the service gets the slice that all deployments share.
        package var hasSlice: Bool
        /// Whether systemd opens the public port, and starts the service for the first connection.
        package var hasSocket: Bool
        /// How long the manifest's preflight commands may take together, in seconds: nothing asks for more time while they run.
        package var preflightTime = 0.0

        package init(
            scope: Scope,
            user: String,
            launcher: String,
            arguments: [String] = [],
            manifest: String?,
            extra: [String] = [],
            workingDirectory: String,
            environment: [String: String] = [:],
            secrets: Set<String> = [],
            hasSlice: Bool = false,
            hasSocket: Bool = false
        ) {
            self.scope = scope
            self.user = user
            self.launcher = launcher
            self.arguments = arguments
            self.manifest = manifest
            self.extra = extra
            self.workingDirectory = workingDirectory
            self.environment = environment
            self.secrets = secrets
            self.hasSlice = hasSlice
            self.hasSocket = hasSocket
        }
    }

    /// A unit's file.
    package struct File: Sendable, Hashable {
        package var name: String
        package var text: String
    }

    /// The first words of every file, by which a file of ours is known.
    package static let mark = "# Written by dynamo-launch generate systemd"

    let plan: Plan
    let options: Options

    /// Checks that the deployment can be a service.
    ///
    /// - Parameters:
    ///   - plan: what is to run.
    ///   - options: how.
    /// - Throws: `ManifestErrors` that name what a service could not see or must not show.
    package init(_ plan: Plan, _ options: Options) throws(ManifestErrors) {
        self.plan = plan
        self.options = options
        let diagnostics = self.hiddenPaths() + self.shownSecrets() + self.impossibleSocket() + self.impossibleSurvival()
        guard diagnostics.isEmpty else { throw ManifestErrors(diagnostics) }
    }

    package static func serviceName(of deployment: String) -> String { "dynamo-launch-\(deployment).service" }
    package static func socketName(of deployment: String) -> String { "dynamo-launch-\(deployment).socket" }
    package static let sliceName = "dynamo-launch.slice"

    /// Where the file of a secret is looked for.
    package static func credentialPath(_ name: String, of deployment: String, scope: Scope) -> String {
        switch scope {
        case .system: "/etc/dynamo-launch/\(deployment)/\(name)"
        case .user: "%h/.config/dynamo-launch/\(deployment)/\(name)"
        }
    }

    /// All units.
    package var files: [File] {
        var files = [File(name: Self.serviceName(of: self.plan.deployment), text: self.service)]
        if self.options.hasSocket {
            files.append(File(name: Self.socketName(of: self.plan.deployment), text: self.socket))
        }
        if self.options.hasSlice { files.append(File(name: Self.sliceName, text: Self.slice)) }
        return files
    }

    // MARK: What cannot be a service

    /// What a service leaves behind is ended by systemd, which starts it anew by itself.
    private func impossibleSurvival() -> [Diagnostic] {
        guard self.plan.survive else { return [] }
        return [
            Diagnostic(
                at: Location(file: self.options.manifest ?? "the command line"),
                "'survive: true' has no meaning in a service: systemd ends what a launcher leaves behind",
                remedy: "leave 'survive' out of the manifest of a service; its public port outlives the launcher anyway"
            )
        ]
    }

    /// A system service has folders for temporary files of its own.
    private func hiddenPaths() -> [Diagnostic] {
        guard self.options.scope == .system else { return [] }
        var diagnostics: [Diagnostic] = []
        func check(_ path: String, _ what: String, _ place: String) {
            guard let folder = ["/tmp", "/var/tmp"].first(where: { path == $0 || path.hasPrefix($0 + "/") }) else {
                return
            }
            diagnostics.append(
                Diagnostic(
                    at: Location(file: place),
                    "\(what) '\(path)' is in \(folder), which a system service does not see (PrivateTmp=yes)",
                    remedy: "move it, for example to /opt or /srv, or use --user"
                )
            )
        }
        let manifest = self.options.manifest ?? "the command line"
        check(self.options.launcher, "the launcher", "the command line")
        if let path = self.options.manifest { check(path, "the manifest", "the command line") }
        check(self.options.workingDirectory, "the working directory", "the command line")
        var seen: Set<String> = []
        for replica in self.plan.replicas where seen.insert(replica.process).inserted {
            let place = replica.origin ?? manifest
            check(replica.executable, "the program of '\(replica.process)'", place)
            check(replica.workingDirectory, "the working directory of '\(replica.process)'", place)
        }
        if let tls = self.plan.gateway?.tls {
            check(tls.certificate, "the certificate", manifest)
            check(tls.key, "the certificate's key", manifest)
        }
        for case .unix(let path, _) in self.options.hasSocket ? [] : self.plan.gateway?.listeners ?? [] {
            check(path, "the socket", manifest)
        }
        return diagnostics
    }

    /// Anybody may read a unit.
    private func shownSecrets() -> [Diagnostic] {
        let overrides = self.options.arguments.compactMap { argument -> Diagnostic? in
            guard let equals = argument.firstIndex(of: "="),
                let name = argument[..<equals].split(separator: ".").last
            else { return nil }
            let value = String(argument[argument.index(after: equals)...])
            guard
                Secrets.isSecret(name: String(name), value: value) || Secrets.credential(in: value) != nil
            else { return nil }
            return Diagnostic(
                at: Location(file: "--set \(argument[..<equals])"),
                "this value sounds like a secret, and everybody can read a unit",
                remedy: "write ${\(name)} in the manifest: the unit then takes it from a file that only systemd reads"
            )
        }
        return overrides
            + Secrets.credentials(in: self.options.extra).map { index, what in
                Diagnostic(
                    at: Location(file: Planner.passthroughFile),
                    "argument \(index + 1) after '--' (\(what)) has a secret in it, and everybody can read a unit",
                    remedy: "write ${NAME} in the manifest: the unit then takes it from a file that only systemd reads"
                )
            }
    }

    // MARK: Texts

    /// Seconds within which the supervisor's loop has to come round.
    private static let watchdog = 30
    /// Seconds until the launcher's loop asks for more: reading the manifest, asking each Python for its release.
    private static let firstWord = 120.0
    /// Seconds beyond the manifest's graces.
    private static let stopSlack = 30.0
    /// More listeners than a manifest has.
    private static let storedDescriptors = 16

    private var service: String {
        let isSystem = self.options.scope == .system
        var lines =
            self.head + ["[Unit]", "Description=\(UnitText.plain("Dynamo deployment \(self.plan.deployment)"))"]
        if isSystem { lines += ["Wants=network-online.target", "After=network-online.target"] }
        if self.options.hasSocket {
            let socket = Self.socketName(of: self.plan.deployment)
            lines += [
                "# Has the public port; stopping it stops this service too.", "Requires=\(socket)", "After=\(socket)",
            ]
        }
        if self.plan.gateway != nil {
            lines += [
                "# A service that is given up loses its public port; how often it is started is bounded by RestartSec=.",
                "StartLimitIntervalSec=0",
            ]
        }
        lines += [
            "", "[Service]", "# Active means that a request was answered, not that a process was started.",
            "Type=notify",
        ]
        lines += ["NotifyAccess=main"]
        lines += ["ExecStart=\(self.commandLine)"]
        lines += ["# Ends when the manifest as it is now runs, and fails when it cannot.", "ExecReload=\(self.reload)"]
        lines += ["WorkingDirectory=\(UnitText.path(self.options.workingDirectory))"]
        if isSystem { lines += ["User=\(self.options.user)"] }
        if self.options.hasSlice { lines += ["Slice=\(Self.sliceName)"] }
        lines += self.environment
        lines += [
            "",
            "# The launcher asks for more time while the manifest's startup timeouts last (EXTEND_TIMEOUT_USEC).",
            "TimeoutStartSec=\(UnitText.seconds(Self.firstWord + self.options.preflightTime))",
            "# The stop graces of the manifest, level by level.",
            "TimeoutStopSec=\(UnitText.seconds(DeploymentTimes(self.plan).stop + Self.stopSlack))",
            "TimeoutAbortSec=10s",
            "WatchdogSec=\(Self.watchdog)s",
            "Restart=on-failure",
            "RestartSec=2s",
            "# The launcher stops its processes in order; whatever is left then is killed with it.",
            "KillMode=mixed",
        ]
        if self.plan.gateway != nil, !self.options.hasSocket {
            lines += [
                "# The public port outlives the launcher: connections wait while it is started again.",
                "FileDescriptorStoreMax=\(Self.storedDescriptors)",
            ]
        }
        lines += [
            "# A process that the kernel ends for its memory is restarted by the launcher.",
            "OOMPolicy=continue",
            "LimitNOFILE=\(max(65536, self.limits.compactMap(\.openFiles).max() ?? 0))",
            "# Memory that GPUs and network cards reach into.",
            "LimitMEMLOCK=infinity",
            "# Engines have thousands of threads.",
            "TasksMax=infinity",
        ]
        if let nice = self.limits.compactMap(\.nice).min(), nice < 0 {
            lines += ["# For 'limits.nice' of a process.", "LimitNICE=\(nice)"]
        }
        if self.boundsMemory {
            lines += [
                "# For 'limits.memory': processes get control groups below the service's own.", "Delegate=memory",
            ]
        }
        lines.append("")
        lines += isSystem ? self.hardening : Self.userHardening
        lines += ["", "[Install]", "WantedBy=\(isSystem ? "multi-user.target" : "default.target")"]
        if self.options.hasSocket { lines.append("Also=\(Self.socketName(of: self.plan.deployment))") }
        return lines.joined(separator: "\n") + "\n"
    }

    private var limits: [ProcessLimits] { self.plan.replicas.compactMap(\.limits) }
    private var boundsMemory: Bool { self.limits.contains { $0.memory != nil } }

    private var reload: String {
        [self.options.launcher, "apply", "--deployment", self.plan.deployment].map(UnitText.argument).joined(
            separator: " "
        )
    }

    var head: [String] {
        [
            Self.mark + (self.options.manifest.map { " from \(UnitText.plain($0))" } ?? " from the embedded manifest"),
            "# and written anew when that is run again: put changes of your own into a drop-in (systemctl edit).",
        ]
    }

    private var commandLine: String {
        var words = [self.options.launcher, "up"] + self.options.arguments
        if let manifest = self.options.manifest { words.append(manifest) }
        if !self.options.extra.isEmpty { words += ["--"] + self.options.extra }
        return words.map(UnitText.argument).joined(separator: " ")
    }

    private var environment: [String] {
        var variables = self.options.environment
        var lines: [String] = []
        if self.options.scope == .system {
            lines += [
                "# Logs are in the first, the control socket in the second, which goes when the service has ended; commands need",
                "# XDG_RUNTIME_DIR=/run to find it. Each service has its own: others may run as other accounts.",
                "StateDirectory=dynamo-launch/\(self.plan.deployment)",
                "StateDirectoryMode=0700",
                "RuntimeDirectory=dynamo-launch/\(self.plan.deployment)",
                "RuntimeDirectoryMode=0700",
            ]
            variables["XDG_STATE_HOME"] = "/var/lib"
            variables["XDG_RUNTIME_DIR"] = "/run"
        }
        for (name, value) in variables.sorted(by: { $0.key < $1.key }) where !self.options.secrets.contains(name) {
            lines.append("Environment=\(UnitText.assignment(name, value))")
        }
        for name in self.options.secrets.sorted() {
            let path = Self.credentialPath(name, of: self.plan.deployment, scope: self.options.scope)
            lines.append("LoadCredential=\(name):\(path)")
        }
        return lines
    }

    /// What a deployment needs not, and GPUs allow: no PrivateDevices=, ProtectClock= or DeviceAllow=, which close the devices,
    /// and no MemoryDenyWriteExecute=, which stops compilers in the process.
    private var hardening: [String] {
        var lines = [
            "# GPUs stay reachable: nothing here closes /dev. Their kernel modules must be loaded before.",
            "NoNewPrivileges=yes", "PrivateTmp=yes", "ProtectSystem=full",
            "ProtectControlGroups=\(self.boundsMemory ? "no" : "yes")",
            "ProtectKernelModules=yes", "ProtectKernelTunables=yes", "ProtectKernelLogs=yes", "ProtectHostname=yes",
            "ProtectProc=invisible", "LockPersonality=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes",
            "UMask=0077",
        ]
        lines += Self.callFilter
        let needsLowPort = !self.options.hasSocket && (1..<1024).contains(self.plan.publicAddress.port)
        if self.options.user == "root" {
            lines.append(
                "CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_KILL CAP_NET_BIND_SERVICE CAP_SYS_NICE CAP_IPC_LOCK"
            )
        } else if needsLowPort {
            lines += ["CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "AmbientCapabilities=CAP_NET_BIND_SERVICE"]
        } else {
            lines.append("CapabilityBoundingSet=")
        }
        return lines
    }

    /// Filters of system calls, which need no rights once there are no new privileges.
    private static let callFilter = [
        "RestrictNamespaces=yes", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "SystemCallArchitectures=native", "# Engines share GPU memory between processes by pidfd_getfd.",
        "SystemCallFilter=@system-service pidfd_getfd", "SystemCallErrorNumber=EPERM",
    ]

    /// The rest needs rights that a user's service manager has not everywhere.
    private static let userHardening =
        [
            "NoNewPrivileges=yes", "LockPersonality=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes", "UMask=0077",
        ] + Self.callFilter

    private static let slice = """
        \(mark)
        [Unit]
        Description=Dynamo deployments

        [Slice]
        CPUAccounting=yes
        MemoryAccounting=yes
        TasksAccounting=yes

        """
}
