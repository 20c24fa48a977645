package import NATS
public import RequestPlane

/// The settings of the NATS plane.
///
/// `docs/environment.md` lists their variables, `NATS_*` and `DYN_NATS_*`.
public struct NATSSettings: Sendable, Hashable {
    /// The connection, or why the variables make none; only processes that use NATS hear of it.
    package var connection: Result<NATSConfiguration, NATSError>
    /// How long to wait for an acknowledgement.
    public var requestTimeout = Duration.seconds(10)
    /// Requests that a server answers at once; more are refused as overload.
    public var maximumInFlight = 50_000

    /// The defaults of Dynamo: a server on this machine, to which a client without credentials says that it is `user`.
    public init() {
        do throws(NATSError) {
            self.connection = .success(try NATSConfiguration(environment: [:]))
        } catch {
            self.connection = .failure(error)
        }
    }

    /// The server at a URL, `nats://host:port` or `tls://host:port`, with the defaults of Dynamo for the rest.
    ///
    /// - Parameter server: the URL; several of one cluster with commas between.
    /// - Throws: `RequestPlaneError` when it is none.
    public init(server: String) throws(RequestPlaneError) {
        do {
            self.connection = .success(try NATSConfiguration(environment: ["NATS_SERVER": server]))
        } catch {
            throw RequestPlaneError(nats: error)
        }
    }

    private static let variables = [
        ("NATS_SERVER", "nats://localhost:4222"), ("NATS_AUTH_USERNAME", "user"), ("NATS_AUTH_PASSWORD", "user"),
        ("NATS_AUTH_TOKEN", "unset"), ("NATS_AUTH_NKEY", "unset"), ("NATS_AUTH_CREDENTIALS_FILE", "unset"),
        ("NATS_TLS_CA_CERT_PATH", "unset"), ("NATS_TLS_CLIENT_CERT_PATH", "unset"),
        ("NATS_TLS_CLIENT_KEY_PATH", "unset"), ("NATS_TLS_INSECURE", "false"),
    ]

    init(_ reader: EnvironmentReader, isServed: Bool) throws(RequestPlaneError) {
        var variables: [String: String] = [:]
        for (name, text) in Self.variables { variables[name] = reader.text(name, default: text) }
        do throws(NATSError) {
            self.connection = .success(try NATSConfiguration(environment: variables))
        } catch {
            if isServed { throw RequestPlaneError(nats: error) }
            self.connection = .failure(error)
        }
        self.requestTimeout = reader.seconds("DYN_NATS_REQUEST_TIMEOUT_SECS", default: self.requestTimeout)
    }
}
