public import Discovery
import FoundationEssentials
public import Logging
import RequestPlane
public import RequestPlaneTransports

extension RuntimeConfiguration {
    /// Makes the client that this configuration asks for.
    public func makeDiscovery(logger: Logger) -> any DiscoveryClient {
        switch self.discovery {
        case .file(let directory): FileDiscovery(directory: directory, logger: logger)
        case .etcd(let configuration): EtcdDiscovery(configuration, logger: logger)
        case .memory: InMemoryDiscovery(store: InMemoryDiscovery.Store())
        }
    }
}

/// The environment of a process, read once at its start.
public struct ProcessEnvironment: Sendable {
    /// Namespace, discovery, system server, log.
    public var runtime: RuntimeConfiguration
    /// The request plane.
    public var requestPlane: NetworkManager.Configuration
    /// A logger that writes to standard error as `DYN_LOG` asks for.
    public var logger: Logger

    /// The variables of this process.
    public static var variables: [String: String] { ProcessInfo.processInfo.environment }

    /// Reads the environment and makes the logger.
    ///
    /// - Parameters:
    ///   - environment: the variables.
    ///   - label: the name of the program in its log.
    /// - Throws: `ConfigurationError` that lists every invalid value.
    public init(_ environment: [String: String], label: String) throws(ConfigurationError) {
        var reader = EnvironmentReader(environment)
        let runtime = RuntimeConfiguration(&reader)
        // Dynamo's processes end here too; a default would only be found out by requests that nobody receives.
        if let mode = reader.string("DYN_REQUEST_PLANE"), RequestPlaneMode(rawValue: mode.lowercased()) == nil {
            throw ConfigurationError(
                ["Invalid request plane mode '\(mode)': valid values are tcp, http, nats (DYN_REQUEST_PLANE)"]
                    + reader.problems
            )
        }
        let logger = StandardErrorLogHandler.logger(label, filter: runtime.logFilter)
        do {
            let requestPlane = try NetworkManager.Configuration(environment: environment, logger: logger)
            guard reader.problems.isEmpty else { throw ConfigurationError(reader.problems) }
            self.requestPlane = requestPlane
        } catch let error as RequestPlaneError {
            throw ConfigurationError(reader.problems + [error.message])
        } catch let error as ConfigurationError {
            throw error
        } catch {
            throw ConfigurationError(["\(error)"])
        }
        self.runtime = runtime
        self.logger = logger
    }
}
