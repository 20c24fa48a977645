import DynamoRuntime
import Logging
import Testing

@Suite("The environment of a process")
struct RuntimeConfigurationTests {
    @Test("without variables the defaults are Dynamo's")
    func defaults() throws {
        let configuration = try RuntimeConfiguration(environment: [:])
        #expect(configuration.namespace == "dynamo")
        #expect(configuration.workerNamespace == "dynamo")
        #expect(configuration.discovery == .etcd(endpoints: ["http://localhost:2379"]))
        #expect(configuration.system == nil)
        #expect(configuration.logFilter == LogFilter(level: .info))
        #expect(configuration.drainTimeout == .seconds(30))
    }

    @Test("each variable is read, empty ones are not")
    func variables() throws {
        let configuration = try RuntimeConfiguration(environment: [
            "DYN_NAMESPACE": "alpha", "DYN_NAMESPACE_WORKER_SUFFIX": "7", "DYN_NAMESPACE_PREFIX": "al",
            "DYN_DISCOVERY_BACKEND": "FILE", "DYN_FILE_KV": "/kv", "DYN_SYSTEM_PORT": "9090",
            "DYN_SYSTEM_HOST": "127.0.0.1",
            "DYN_SYSTEM_HEALTH_PATH": "/h", "DYN_SYSTEM_LIVE_PATH": "", "DYN_LOG": "warn,RequestPlane=trace",
            "DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS": "1.5", "ETCD_ENDPOINTS": "ignored here",
        ])
        #expect(configuration.workerNamespace == "alpha-7")
        #expect(configuration.namespacePrefix == "al")
        #expect(configuration.discovery == .file(directory: "/kv"))
        var system = SystemServer.Configuration(host: "127.0.0.1", port: 9090)
        system.healthPath = "/h"
        #expect(configuration.system == system)
        #expect(configuration.logFilter == LogFilter(level: .warning, targets: ["RequestPlane": .trace]))
        #expect(configuration.drainTimeout == .milliseconds(1500))
    }

    @Test("etcd's addresses are a list of URLs")
    func etcd() throws {
        let configuration = try RuntimeConfiguration(environment: ["ETCD_ENDPOINTS": "http://a:1, https://b:2"])
        #expect(configuration.discovery == .etcd(endpoints: ["http://a:1", "https://b:2"]))
    }

    @Test("the file backend without a directory is where Dynamo has it")
    func temporary() throws {
        let environment = ["DYN_DISCOVERY_BACKEND": "file", "TMPDIR": "/var/tmp"]
        #expect(
            try RuntimeConfiguration(environment: environment).discovery == .file(directory: "/var/tmp/dynamo_store_kv")
        )
    }

    @Test("all invalid values are reported at once, with what is allowed")
    func faults() {
        let error = #expect(throws: ConfigurationError.self) {
            try RuntimeConfiguration(environment: [
                "DYN_DISCOVERY_BACKEND": "kubernetes", "DYN_SYSTEM_PORT": "70000", "DYN_SYSTEM_LIVE_PATH": "live",
                "DYN_LOG": "loud", "DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS": "soon",
                "ETCD_ENDPOINTS": "localhost:2379",
            ])
        }
        #expect(
            error?.problems == [
                "DYN_DISCOVERY_BACKEND is 'kubernetes'; it must be one of etcd, file, mem",
                "ETCD_ENDPOINTS is 'localhost:2379'; it must be URLs with http:// or https://, separated by commas",
                "DYN_SYSTEM_PORT is '70000'; it must be a whole number from -1 to 65535",
                "DYN_SYSTEM_LIVE_PATH is 'live'; it must be a path that begins with /",
                "DYN_LOG is 'loud'; it must be a level (off, error, warn, info, debug, trace) or a list like "
                    + "info,RequestPlane=debug",
                "DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS is 'soon'; it must be a number of seconds from 0 to 86400",
            ]
        )
    }
}
