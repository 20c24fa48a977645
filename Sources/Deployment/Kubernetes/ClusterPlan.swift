internal import OrderedCollections

/// What runs in a Kubernetes cluster for one generation of a deployment: the manifest resolved for pods instead of this machine.
///
/// Every form of output is made from this, so that all agree.
package struct ClusterPlan: Sendable, Hashable {
    /// The deployment's name, which clients' Service has.
    package var deployment: String
    package var generation: Int
    /// What the names of the generation's objects begin with: `chat`, and `g2-chat` for the next one.
    ///
    /// Neither is the beginning of the other.
    package var name: String
    /// Of the objects; nil: that which `kubectl` is set to.
    package var kubernetesNamespace: String?
    package var planes: PlaneSet
    /// The Dynamo namespace of all processes.
    package var namespace: String
    /// nil: no process is Dynamo's own.
    package var release: DynamoRelease?
    package var discovery: ClusterDiscovery
    /// nil: no plane needs one.
    package var nats: ClusterService?
    /// Of the clients' Service.
    package var publicPort: Int
    package var model: String?
    package var canary: CanaryRequest
    package var migration: MigrationSettings
    package var settings: KubernetesSettings
    /// What every frontend, router and worker gets: the planes, from one place.
    package var shared: [ClusterVariable]
    /// In the order in which they would be started on one machine.
    package var processes: [ClusterProcess]
    /// What this machine's plan says of the same manifest.
    package var local: Plan
    package var notes: [String]
}

extension ClusterPlan {
    /// Processes that the NetworkPolicies let nobody connect to.
    package var policyNotes: [String] { PlaneConnections(self).notes }

    /// Which Secrets must be there, and the commands that make them.
    package var secretNotes: [String] { self.secretNotes(of: self.processes.flatMap(\.environment)) }

    /// The same for other containers than those of the processes.
    func secretNotes(of variables: [ClusterVariable]) -> [String] {
        // By the Secret, whether each key must be there.
        var keys: [String: [String: Bool]] = [:]
        var hasLooks = false
        for variable in variables {
            guard case .secret(let key) = variable.value else { continue }
            keys[key.secret, default: [:]][key.key, default: false] =
                keys[key.secret]?[key.key] == true || !key.isOptional
            hasLooks = hasLooks || !Secrets.isSecret(name: variable.name) && self.settings.secrets[variable.name] == nil
        }
        let place = self.kubernetesNamespace.map { " -n \($0)" } ?? ""
        let notes = keys.sorted { $0.key < $1.key }.map { secret, keys in
            let needed = keys.filter(\.value).keys.sorted()
            let others = keys.keys.filter { keys[$0] == false }.sorted().joined(separator: ", ")
            let values = keys.keys.sorted().map { " --from-literal=\($0)=..." }.joined()
            let what =
                needed.isEmpty
                ? "may be there, with \(others)"
                : "must be there, with \(needed.joined(separator: ", "))"
                    + (others.isEmpty ? "" : ", and may have \(others)")
            return "the Secret '\(secret)' \(what): kubectl\(place) create secret generic \(secret)\(values)"
        }
        guard hasLooks else { return notes }
        let hint = "a variable that has no secret in it is written as it is with 'kubernetes: {secrets: {NAME: false}}'"
        return notes + [hint]
    }
}

/// How processes find each other in a cluster.
package enum ClusterDiscovery: Sendable, Hashable {
    /// Through the API server.
    case kubernetes
    case etcd(ClusterService)
}

/// A server that the planes need.
package struct ClusterService: Sendable, Hashable {
    /// URLs as the processes are told.
    package var urls: [String]
    /// Whether it is among the deployment's objects; else it is somewhere already.
    package var isManaged: Bool
    /// NATS only: whether it stores streams.
    package var hasJetStream = false
    package var image: String
    /// Arguments of the manifest.
    package var arguments: [String] = []
}

/// A process of the manifest, or one of its replicas when they are not alike.
package struct ClusterProcess: Sendable, Hashable {
    /// Whose program it is.
    package enum Program: Sendable, Hashable {
        /// `dynamo-frontend`, `dynamo-router` or `dynamo-worker`.
        case ours
        /// A Python module of Dynamo.
        case dynamo(module: String)
        case foreign
    }

    /// Unique in the plan, and fit for the name of an object: `worker`, or `worker-1`.
    package var name: String
    /// The manifest's name of the process.
    package var process: String
    /// Which replica it is when replicas are not alike; nil: it stands for all.
    package var index: Int?
    package var role: Role
    package var program: Program
    package var image: String
    /// The whole command; the first word is looked for on the image's PATH, unless it is a path.
    package var command: [String]
    package var arguments: [String]
    package var replicas: Int
    /// Beside the shared ones.
    package var environment: [ClusterVariable]
    package var ports: [ClusterPort]
    /// Absolute; nil: the image's.
    package var workingDirectory: String?
    /// How many devices each replica has.
    package var gpus: Int
    package var gpuResource: String
    package var dependencies: [Dependency]
    /// The layers that a replica passes, lowest first; addresses are the pod's own (`127.0.0.1` stands for it).
    package var readiness: [LayerProbe]
    package var timing: ProbeTiming
    package var restart: RestartPolicy
    package var stop: StopPlan
    package var settings: ProcessKubernetesSettings
    /// `file:line:column` of the process in the manifest.
    package var origin: String?
}

/// A port of each pod of a process.
package struct ClusterPort: Sendable, Hashable {
    package enum Purpose: Sendable, Hashable {
        /// The OpenAI interface of a frontend.
        case http
        /// Health and metrics.
        case system
        /// Requests of the request plane (`tcp` and `http`).
        case request
        /// Answers, for which workers call home to those who asked.
        case response
        /// What the manifest says under `ports`, for purposes of its own.
        case other
    }

    /// At most 15 characters, lower case.
    package var name: String
    package var number: Int
    package var purpose: Purpose
    /// Where the manifest says it; nil: it says nothing of it.
    var location: Location?
}

/// A variable of a container.
package struct ClusterVariable: Sendable, Hashable {
    package enum Value: Sendable, Hashable {
        case text(String)
        case secret(KubernetesSettings.SecretKey)
        /// A field of the pod, such as `status.podIP`.
        case field(String)
    }

    package var name: String
    package var value: Value
    /// Of a secret that is a URL: the URL without anything secret, because policies must know where it leads.
    var shownURL: String?

    /// As an entry of `env`.
    var yaml: YAMLValue {
        let name = YAMLValue.text(self.name)
        switch self.value {
        case .text(let text): return ["name": name, "value": .text(ContainerText.literal(text))]
        case .secret(let key):
            var reference: KeyedYAML = ["name": .text(key.secret), "key": .text(key.key)]
            if key.isOptional { reference["optional"] = true }
            return ["name": name, "valueFrom": ["secretKeyRef": .keyed(reference)]]
        case .field(let path): return ["name": name, "valueFrom": ["fieldRef": ["fieldPath": .text(path)]]]
        }
    }
}
