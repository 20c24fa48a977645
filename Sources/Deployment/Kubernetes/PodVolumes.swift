internal import OrderedCollections

/// The volumes of a process and where it sees them: ours, and those of the manifest.
struct PodVolumes {
    private let process: ClusterProcess
    private let hasSharedMemory: Bool

    /// - Parameters:
    ///   - process: whose volumes.
    ///   - hasSharedMemory: whether shared memory is one of them; Dynamo's operator has a field for it instead.
    init(_ process: ClusterProcess, hasSharedMemory: Bool = true) {
        self.process = process
        self.hasSharedMemory = hasSharedMemory
    }

    // MARK: What it needs

    /// The size of `/dev/shm`; nil: the container runtime's.
    ///
    /// A process with GPUs passes data between its own processes in shared memory, of which containers have 64 MiB by themselves.
    var sharedMemory: String? {
        guard !self.isTaken("/dev/shm") else { return nil }
        return self.process.settings.sharedMemory ?? (self.process.gpus > 0 ? "8Gi" : nil)
    }

    /// Whether a program that may not write to its own file system gets a place for temporary files.
    private var needsTemporary: Bool { !PlainPod.isRootWritable(self.process) && !self.isTaken("/tmp") }

    private func isTaken(_ path: String) -> Bool { self.process.settings.volumes.contains { $0.path == path } }

    /// The name of a volume of ours, beside those of the manifest.
    private func name(_ usual: String) -> YAMLValue {
        var name = usual
        while self.process.settings.volumes.contains(where: { $0.name == name }) { name = "launch-\(name)" }
        return .text(name)
    }

    // MARK: As YAML

    var volumes: [YAMLValue] {
        var volumes: [YAMLValue] = []
        if self.needsTemporary { volumes.append(["name": self.name("tmp"), "emptyDir": [:]]) }
        if self.hasSharedMemory, let size = self.sharedMemory {
            volumes.append([
                "name": self.name("shared-memory"), "emptyDir": ["medium": "Memory", "sizeLimit": .text(size)],
            ])
        }
        return volumes + self.process.settings.volumes.map(\.yaml)
    }

    var mounts: [YAMLValue] {
        var mounts: [YAMLValue] = []
        if self.needsTemporary { mounts.append(["name": self.name("tmp"), "mountPath": "/tmp"]) }
        if self.hasSharedMemory, self.sharedMemory != nil {
            mounts.append(["name": self.name("shared-memory"), "mountPath": "/dev/shm"])
        }
        return mounts + self.process.settings.volumes.map(\.mount)
    }
}

extension ProcessKubernetesSettings.Volume {
    /// As an item of a pod's `volumes`.
    var yaml: YAMLValue {
        let name = YAMLValue.text(self.name)
        switch self.source {
        case .claim(let claim):
            return [
                "name": name,
                "persistentVolumeClaim": ["claimName": .text(claim), "readOnly": .boolean(self.isReadOnly)],
            ]
        case .secret(let secret): return ["name": name, "secret": ["secretName": .text(secret)]]
        case .configMap(let map): return ["name": name, "configMap": ["name": .text(map)]]
        case .empty(let size):
            var directory: KeyedYAML = [:]
            directory["sizeLimit"] = size.map(YAMLValue.text)
            return ["name": name, "emptyDir": .keyed(directory)]
        }
    }

    /// As an item of a container's `volumeMounts`.
    var mount: YAMLValue {
        var mount: KeyedYAML = ["name": .text(self.name), "mountPath": .text(self.path)]
        if self.isReadOnly { mount["readOnly"] = true }
        return .keyed(mount)
    }
}

extension ProcessKubernetesSettings.Toleration {
    /// As an item of a pod's `tolerations`.
    var yaml: YAMLValue {
        var fields: KeyedYAML = [
            "key": .text(self.key), "operator": self.value == nil ? "Exists" : "Equal",
        ]
        fields["value"] = self.value.map(YAMLValue.text)
        fields["effect"] = self.effect.map(YAMLValue.text)
        return .keyed(fields)
    }
}
