/// What a generation was planned from: enough to plan it again after the launcher was killed, also when the manifest's file is gone.
package struct GenerationSource: Sendable, Hashable, Codable {
    /// Absolute; nil: the embedded deployment.
    package var manifestPath: String?
    package var manifestText: String
    /// As for `--set`.
    package var overrides: [String]
    /// `tcp`, `http` or `nats`, when the manifest's own is overridden.
    package var requestPlane: String?
    /// What stood after `--`.
    package var arguments: [String]
    /// How many replicas processes have that `scale` has changed.
    package var scaled: [String: Int]?

    package init(
        manifestPath: String?,
        manifestText: String,
        overrides: [String] = [],
        requestPlane: String? = nil,
        arguments: [String] = []
    ) {
        self.manifestPath = manifestPath
        self.manifestText = manifestText
        self.overrides = overrides
        self.requestPlane = requestPlane
        self.arguments = arguments
    }

    /// What changes the manifest: what was given with `--set`, and then what `scale` has set.
    package var settings: [String] {
        self.overrides
            + (self.scaled ?? [:]).sorted { $0.key < $1.key }.map { "processes.\($0.key).replicas=\($0.value)" }
    }
}
