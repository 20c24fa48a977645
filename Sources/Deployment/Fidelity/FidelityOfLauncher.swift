/// What becomes of a manifest whose launcher runs somewhere else than in a terminal: nearly everything is kept.
enum FidelityOfLauncher {
    static let inheritOfUnit = "of your environment the unit has PATH and the variables that the manifest uses"
    static let inheritOfPod = "the pod's environment, which has the variables that the manifest uses"

    /// As a service of this machine.
    static func systemd(_ use: ManifestUse, _ facts: FidelityReport.Facts) -> FidelityVerdict? {
        switch (use.context, use.key) {
        case (.root, "inherit") where use.text != "none":
            .approximated(self.inheritOfUnit)
        case (.root, "survive") where use.text != "false": .lost("systemd ends what a launcher leaves behind")
        case (.gateway, "idleExit"):
            facts.hasSocket
                ? .approximated("with the socket unit")
                : .lost("nothing would start the service again for the next request: leave out --no-socket")
        default: .kept
        }
    }

    /// In one pod.
    static func singlePod(_ use: ManifestUse) -> FidelityVerdict? {
        switch use.context {
        case .root: self.root(use)
        case .discovery where use.key == "directory": .approximated("a folder of the pod")
        case .dynamo where use.key == "python": .approximated("that of the image")
        case .http where use.key == "host": .approximated("the Service decides who comes in")
        case .http where use.text == "auto": .approximated("a number that the Service knows")
        case .gateway: self.gateway(use)
        case .tls: .approximated("files that must be on a volume of the pod")
        case .listener: .approximated(self.insideThePod)
        case .infrastructure, .nats, .etcd:
            use.key == "managed" || use.text == "managed"
                ? .approximated("the server's program must be in the image") : .kept
        case .process: self.process(use)
        case .limits where use.key == "memory":
            .lost("a container makes no control groups: 'kubernetes.limits' bounds the pod")
        case .limits: .approximated("as far as the container runtime lets the launcher")
        case .kubernetes: self.kubernetes(use)
        case .kubernetesAPIServer: .approximated("the pod does not ask the API server")
        case .kubernetesImages:
            use.key == "launcher" ? .kept : .lost("all processes run in the image 'launcher'")
        case .processKubernetes: self.processKubernetes(use)
        case .kubernetesAutoscaling: .lost("a pod is not scaled: its processes are what the manifest says")
        default: .kept
        }
    }

    private static let insideThePod = "inside the pod only: the Service leads to the public port"

    private static func root(_ use: ManifestUse) -> FidelityVerdict {
        switch use.key {
        case "inherit" where use.text != "none":
            .approximated(self.inheritOfPod)
        case "survive": FidelityRules.survive(use)
        default: .kept
        }
    }

    private static func gateway(_ use: ManifestUse) -> FidelityVerdict {
        switch use.key {
        case "idleExit": .lost("the kubelet would start a launcher that ended at once again")
        case "listeners": .approximated(self.insideThePod)
        case "metrics": .approximated("inside the pod, unless its address is 0.0.0.0")
        default: .kept
        }
    }

    private static func process(_ use: ManifestUse) -> FidelityVerdict {
        switch use.key {
        case "module", "command", "python": .approximated("its program must be in the image")
        case "workingDirectory": .approximated("the folder of that name in the image")
        case "gpus": .approximated("the pod asks for as many devices as all processes have together")
        default: .kept
        }
    }

    private static func kubernetes(_ use: ManifestUse) -> FidelityVerdict {
        switch use.key {
        case "etcd", "storage", "storageClass", "discovery", "createDefinition", "apiServer":
            .approximated("servers and discovery are as on one machine, inside the pod")
        case "images": .approximated("all processes run in the image 'launcher'")
        default: .kept
        }
    }

    private static func processKubernetes(_ use: ManifestUse) -> FidelityVerdict {
        switch use.key {
        case "image": .lost("all processes run in the image 'kubernetes.images.launcher'")
        case "autoscaling": .lost("a pod is not scaled: its processes are what the manifest says")
        case "writableRoot", "gpuResource", "sharedMemory", "requests", "limits", "nodeSelector", "tolerations",
            "volumes":
            .approximated("the pod has what its processes ask for together")
        default: .kept
        }
    }
}
