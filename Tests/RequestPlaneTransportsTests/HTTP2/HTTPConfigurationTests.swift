import Logging
import RequestPlane
import RequestPlaneTransports
import Testing

@Suite struct HTTPConfigurationTests {
    private func read(_ environment: [String: String]) throws -> NetworkManager.Configuration {
        try NetworkManager.Configuration(environment: environment, logger: Logger(label: "test"))
    }

    @Test func defaults() throws {
        let http = try self.read([:]).http
        #expect(http == HTTPConfiguration())
        #expect(http.host == nil && http.port == 8888 && http.rootPath == "/v1/rpc")
        #expect(http.requestTimeout == .seconds(5))
        #expect(http.maximumFrameSize == 1_048_576 && http.maximumConcurrentStreams == 1000)
        #expect(http.poolMaximumIdle == 100 && http.poolIdleTimeout == .seconds(90))
        #expect(http.keepAliveInterval == .seconds(30) && http.keepAliveTimeout == .seconds(10))
        #expect(http.adaptiveWindow)
        #expect(http.maximumBodySize == 33_554_432)
    }

    @Test func everyVariableIsRead() throws {
        let configuration = try self.read([
            "DYN_REQUEST_PLANE": "Http", "DYN_HTTP_RPC_HOST": "[::1]", "DYN_HTTP_RPC_PORT": "0",
            "DYN_HTTP_RPC_ROOT_PATH": "/x/y//", "DYN_HTTP_REQUEST_TIMEOUT": "7", "DYN_HTTP2_MAX_FRAME_SIZE": "16384",
            "DYN_HTTP2_MAX_CONCURRENT_STREAMS": "3", "DYN_HTTP2_POOL_MAX_IDLE_PER_HOST": "0",
            "DYN_HTTP2_POOL_IDLE_TIMEOUT_SECS": "8", "DYN_HTTP2_KEEP_ALIVE_INTERVAL_SECS": "9",
            "DYN_HTTP2_KEEP_ALIVE_TIMEOUT_SECS": "10", "DYN_HTTP2_ADAPTIVE_WINDOW": "False",
        ])
        #expect(configuration.mode == .http)
        var expected = HTTPConfiguration()
        expected.host = "::1"
        expected.port = 0
        expected.rootPath = "/x/y"
        expected.requestTimeout = .seconds(7)
        expected.maximumFrameSize = 16_384
        expected.maximumConcurrentStreams = 3
        expected.poolMaximumIdle = 0
        expected.poolIdleTimeout = .seconds(8)
        expected.keepAliveInterval = .seconds(9)
        expected.keepAliveTimeout = .seconds(10)
        expected.adaptiveWindow = false
        #expect(configuration.http == expected)
        #expect(configuration.responseStream.host == "::1", "answers come back where requests go out")
    }

    @Test(arguments: [
        ("DYN_HTTP_RPC_PORT", "abc"), ("DYN_HTTP_RPC_PORT", "65536"), ("DYN_HTTP2_MAX_FRAME_SIZE", "16383"),
        ("DYN_HTTP2_MAX_FRAME_SIZE", "16777216"), ("DYN_HTTP2_MAX_CONCURRENT_STREAMS", "0"),
        ("DYN_HTTP2_ADAPTIVE_WINDOW", "maybe"), ("DYN_HTTP_REQUEST_TIMEOUT", "1.5"),
    ])
    func invalidValuesAreReplaced(_ name: String, _ text: String) throws {
        #expect(try self.read([name: text]).http == HTTPConfiguration())
    }

    @Test(arguments: [
        ("DYN_HTTP_RPC_HOST", "localhost"), ("DYN_HTTP_RPC_ROOT_PATH", "v1/rpc"), ("DYN_HTTP_RPC_ROOT_PATH", "/a b"),
        ("DYN_HTTP_RPC_ROOT_PATH", "/a?b"), ("DYN_HTTP_RPC_ROOT_PATH", "/%41"),
    ])
    func invalidValuesThatStop(_ name: String, _ text: String) throws {
        let error = #expect(throws: RequestPlaneError.self) { try self.read([name: text]) }
        #expect(error?.code == .invalidConfiguration)
        #expect(error?.message.contains("\(name)='\(text)'") == true)
    }

    @Test func rootOfAllPaths() throws {
        #expect(try self.read(["DYN_HTTP_RPC_ROOT_PATH": "/"]).http.rootPath == "")
    }
}
