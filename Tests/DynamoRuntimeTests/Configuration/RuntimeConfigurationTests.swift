import Discovery
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
        #expect(configuration.discovery == .etcd(EtcdConfiguration(endpoints: ["http://localhost:2379"])))
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
        #expect(configuration.discovery == .etcd(EtcdConfiguration(endpoints: ["http://a:1", "https://b:2"])))
    }

    @Test("etcd's credentials have Dynamo's names; half of a pair is an error")
    func etcdCredentials() throws {
        let configuration = try RuntimeConfiguration(environment: [
            "ETCD_ENDPOINTS": "https://a:1", "ETCD_AUTH_USERNAME": "u", "ETCD_AUTH_PASSWORD": "p",
            "ETCD_AUTH_CA": "/ca", "ETCD_AUTH_CLIENT_CERT": "/cert", "ETCD_AUTH_CLIENT_KEY": "/key",
        ])
        var etcd = EtcdConfiguration(endpoints: ["https://a:1"])
        etcd.user = .init(name: "u", password: "p")
        etcd.authority = "/ca"
        etcd.identity = .init(certificate: "/cert", key: "/key")
        #expect(configuration.discovery == .etcd(etcd))
        let error = #expect(throws: ConfigurationError.self) {
            try RuntimeConfiguration(environment: [
                "ETCD_AUTH_USERNAME": "u", "ETCD_AUTH_CLIENT_KEY": "/key", "ETCD_AUTH_CA": "/ca",
            ])
        }
        #expect(
            error?.problems == [
                "ETCD_AUTH_USERNAME is set but ETCD_AUTH_PASSWORD is not; set both or neither",
                "ETCD_AUTH_CLIENT_KEY is set but ETCD_AUTH_CLIENT_CERT is not; set both or neither",
                "ETCD_ENDPOINTS is 'http://localhost:2379'; it must be https:// URLs when ETCD_AUTH_CA or "
                    + "ETCD_AUTH_CLIENT_CERT is set",
            ]
        )
    }

    @Test("what decides over /health is read, and wrong values are refused")
    func health() throws {
        let configuration = try RuntimeConfiguration(environment: [
            "DYN_SYSTEM_PORT": "0", "DYN_SYSTEM_STARTING_HEALTH_STATUS": "READY",
            "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS": #"["generate", "other"]"#,
        ])
        #expect(configuration.system?.startingStatus == .ready)
        #expect(configuration.system?.decidingEndpoints == ["generate", "other"])
        let error = #expect(throws: ConfigurationError.self) {
            try RuntimeConfiguration(environment: [
                "DYN_SYSTEM_STARTING_HEALTH_STATUS": "up", "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS": "generate",
            ])
        }
        #expect(
            error?.problems == [
                "DYN_SYSTEM_STARTING_HEALTH_STATUS is 'up'; it must be one of ready, notready",
                #"DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS is 'generate'; it must be a JSON list of names like ["generate"]"#,
            ]
        )
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
