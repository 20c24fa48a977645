import ArgumentParser

/// The plane flags, with the meaning they have in upstream's `agg_request_planes.sh`: the last one given wins.
enum PlaneFlag: String, EnumerableFlag {
    case tcp, http, nats

    static func help(for value: PlaneFlag) -> ArgumentHelp? {
        switch value {
        case .tcp: "Use the TCP request plane (the default)."
        case .http: "Use the HTTP request plane (of Dynamo's releases, 1.0 to 1.2 have it)."
        case .nats: "Use the NATS request plane; the last of the three flags wins."
        }
    }
}

/// Which manifest, and what is changed in it: shared by `up`, `check` and `plan`.
struct ManifestOptions: ParsableArguments {
    @Flag(exclusivity: .chooseLast)
    var plane: PlaneFlag?

    @Option(
        name: .customLong("set"),
        help: ArgumentHelp(
            "Change a key of the manifest, for example processes.worker.replicas=2.",
            valueName: "key=value"
        )
    )
    var overrides: [String] = []

    @Argument(
        help: "The manifest; default: dynamo-launch.yaml in the working directory, else the embedded deployment.",
        completion: .file(extensions: ["yaml", "yml"])
    )
    var manifest: String?

    @Argument(
        parsing: .postTerminator,
        help: ArgumentHelp(
            "After --: extra arguments for the process that the manifest names (passthrough).",
            valueName: "extra"
        )
    )
    var extra: [String] = []
}
