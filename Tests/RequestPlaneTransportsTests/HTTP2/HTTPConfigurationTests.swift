import Logging
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

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

    /// The code reads what its documentation and the page for users list, with the same defaults.
    @Test func tablesAgree() throws {
        func text(_ path: String) throws -> [Substring] {
            try String(contentsOf: TestEnvironment.root.appending(path: path), encoding: .utf8).split(separator: "\n")
        }
        func rows(_ lines: [Substring]) -> [String: String] {
            var rows: [String: String] = [:]
            for line in lines {
                let cells = line.split(separator: "|").map { $0.filter { $0 != " " && $0 != "`" } }
                if let name = cells.dropFirst(line.hasPrefix("///") ? 1 : 0).first, name.hasPrefix("DYN_HTTP") {
                    rows[name] = cells[line.hasPrefix("///") ? 2 : 1]
                }
            }
            return rows
        }
        let source = try text("Sources/RequestPlaneTransports/Configuration/HTTPConfiguration.swift")
        let documented = rows(source)
        #expect(documented.count == 11)
        #expect(rows(try text("docs/request-planes.md")) == documented)
        let code = source.filter { !$0.hasPrefix("///") }.joined(separator: "\n")
        let read = Set(
            code.split(separator: "\"").filter { $0.hasPrefix("DYN_") && !$0.contains("=") }.map(String.init)
        )
        #expect(read == Set(documented.keys))
        for (name, value) in documented where name != "DYN_HTTP_RPC_HOST" {
            #expect(try self.read([name: value]).http == HTTPConfiguration(), "\(name)=\(value) is the default")
        }
    }

    @Test func rootOfAllPaths() throws {
        #expect(try self.read(["DYN_HTTP_RPC_ROOT_PATH": "/"]).http.rootPath == "")
    }
}
