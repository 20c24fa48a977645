import Foundation
import NIOCore
import RequestPlane
import TestSupport
import Testing

/// The programs of the README.
@Suite struct ExampleTests {
    private static let root = TestEnvironment.root

    @Test(arguments: ["ShoutWorker", "ShoutClient"])
    func `the README shows the example as it is built`(name: String) throws {
        let readme = try String(contentsOf: Self.root.appending(path: "README.md"), encoding: .utf8)
        let file = Self.root.appending(path: "Examples/\(name)/\(name).swift")
        let source = try String(contentsOf: file, encoding: .utf8)
        #expect(readme.contains("```swift\n\(source)```"))
        #expect(source.split(separator: "\n").count <= 26)
    }

    @Test func `the client finds the worker, calls it, and prints what it shouts`() async throws {
        try await withTemporaryDirectory { directory in
            let environment: [String: String?] = [
                "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": directory.path(), "DYN_NAMESPACE": "shout-test",
                "DYN_REQUEST_PLANE": "tcp", "DYN_TCP_RPC_HOST": "127.0.0.1", "DYN_SYSTEM_PORT": nil,
            ]
            let products = TestEnvironment.products
            let (_, workerExit) = try await withProgram(
                products.appending(path: "ShoutWorker").path(),
                [],
                environment: environment
            ) { worker in
                try await worker.waitForOutput("endpoint serves")
                let (output, exit) = try await withProgram(
                    products.appending(path: "ShoutClient").path(),
                    [],
                    environment: environment
                ) { client in
                    try await client.waitForExit()
                    return client.output
                }
                #expect(exit == .code(0))
                #expect(output == "\"HELLO\"\n\"OVER\"\n\"THERE\"\n")
                worker.send(SIGTERM)
                try await worker.waitForExit()
            }
            #expect(workerExit == .code(0))
        }
    }
}
