internal import OrderedCollections

/// A container that holds a pod back until what its process depends on is there.
///
/// Only Dynamo's images have the Python for it. Other processes start at once: ours ask again until servers answer, and what ends is
/// started again by the kubelet.
enum PlainWait {
    static func container(_ process: ClusterProcess, _ names: PlainNames) -> YAMLValue? {
        guard case .dynamo = process.program, let python = process.command.first else { return nil }
        let targets = self.targets(of: process, names)
        guard !targets.isEmpty else { return nil }
        return [
            "name": "wait", "image": .text(process.image),
            "command": .texts([python, "-c", ContainerText.literal(ProbeScript.wait.rawValue)]),
            "args": .texts(targets.map(ContainerText.literal)),
            "resources": ["requests": ["cpu": "10m", "memory": "32Mi"], "limits": ["memory": "128Mi"]],
            "securityContext": PlainSecurity.container(isRootWritable: false),
        ]
    }

    /// Dynamo 1.0 to 1.2 end at once without NATS, which the kubelet would answer with ever longer pauses (contract `discovery.md`,
    /// section 9).
    static func targets(of process: ClusterProcess, _ names: PlainNames) -> [String] {
        var targets: [String] = []
        if process.role != .infrastructure {
            if let nats = names.plan.nats { targets += self.connection(nats.urls, port: ClusterPorts.nats) }
            if case .etcd(let etcd) = names.plan.discovery {
                targets += self.connection(etcd.urls, port: ClusterPorts.etcd)
            }
        }
        for dependency in process.dependencies {
            for other in names.plan.processes where other.process == dependency.process {
                // A frontend is ready only once there are workers, perhaps those that would wait for it.
                guard other.role != .frontend, !other.ports.isEmpty, other.replicas > 0 else { continue }
                targets.append("name:\(names.process(other)):\(other.settings.autoscaling?.minimum ?? other.replicas)")
            }
        }
        return targets
    }

    private static func connection(_ urls: [String], port: Int) -> [String] {
        let places = urls.flatMap { $0.split(separator: ",") }
            .compactMap { ServerAddress(String($0), port: port)?.text }
        return places.isEmpty ? [] : ["tcp:\(places.joined(separator: ","))"]
    }
}
