/// A server that runs outside the deployment and must answer before anything is started.
package struct ExternalService: Sendable, Hashable, Codable {
    /// `nats`, `etcd`, or `etcd-0`, `etcd-1` ...
    package var name: String
    /// For messages.
    package var url: String
    package var probe: Probe

    /// `nats` or `etcd`.
    package var kind: String { String(self.name.prefix { $0 != "-" }) }

    /// The URL without passwords, to be shown.
    package var maskedURL: String { Secrets.masking(url: self.url) }

    package init(name: String, url: String, probe: Probe) {
        self.name = name
        self.url = url
        self.probe = probe
    }
}
