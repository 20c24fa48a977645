/// The deployment that runs without a manifest: our own frontend and an echo worker.
///
/// The same text as `launch/embedded.yaml`.
package enum EmbeddedManifest {
    /// How messages call it.
    package static let path = "(embedded deployment)"

    package static let text = """
        # The deployment that dynamo-launch runs when it is given no manifest: a frontend and a worker that come with it. They need no
        # Python, GPU or etcd, and speak the same wire as Dynamo's own.
        name: embedded
        model: echo
        planes: tcp
        discovery: file
        infrastructure:
          # Started only when a plane is NATS (--nats).
          nats: managed
        passthrough: worker

        processes:
          frontend:
            builtin: frontend
          worker:
            builtin: worker
            args: [--engine, echo, --model-name, "{{model}}"]

        """

    package static var source: ManifestSource { ManifestSource(path: self.path, text: self.text) }
}
