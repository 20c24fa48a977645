internal import OrderedCollections

/// What pods may not do, which is all that they need not do.
enum PlainSecurity {
    /// The context of a pod whose containers run as this user: a number, because the kubelet cannot tell whether a name is root.
    static func pod(user: Int) -> YAMLValue {
        [
            "runAsNonRoot": true, "runAsUser": .number(user), "runAsGroup": .number(user), "fsGroup": .number(user),
            // A volume with a model can have very many files.
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": ["type": "RuntimeDefault"],
        ]
    }

    static func container(isRootWritable: Bool) -> YAMLValue {
        [
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": .boolean(!isRootWritable),
            "runAsNonRoot": true, "capabilities": ["drop": ["ALL"]], "seccompProfile": ["type": "RuntimeDefault"],
        ]
    }

    static func addPullSecrets(_ settings: KubernetesSettings, to pod: inout KeyedYAML) {
        guard !settings.imagePullSecrets.isEmpty else { return }
        pod["imagePullSecrets"] = .list(settings.imagePullSecrets.map { ["name": .text($0.value)] })
    }
}

/// Texts in `command`, `args` and `env`, in which Kubernetes replaces `$(NAME)`.
enum ContainerText {
    /// The text as it is: `$$` stands for `$`, wherever it is.
    static func literal(_ text: String) -> String {
        var result = ""
        for character in text.unicodeScalars {
            result.unicodeScalars.append(character)
            if character == "$" { result.unicodeScalars.append(character) }
        }
        return result
    }
}
