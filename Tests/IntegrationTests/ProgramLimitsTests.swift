import Foundation
import TestSupport
import Testing

/// What our programs do about the limits that they are started with.
@Suite struct ProgramLimitsTests {
    /// Soft and hard limit of the number of descriptors, as the kernel shows them.
    private static func descriptorLimits(of pid: Int32) throws -> [String] {
        let text = try String(contentsOfFile: "/proc/\(pid)/limits", encoding: .utf8)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("Max open files") })
        return line.split(separator: " ").dropFirst(3).prefix(2).map(String.init)
    }

    @Test(arguments: ["dynamo-frontend --http-host 127.0.0.1 --http-port 0", "dynamo-worker"])
    func `a low soft limit of descriptors is raised as far as the hard one allows`(command: String) async throws {
        try await withTemporaryDirectory { directory in
            let products = TestEnvironment.products.path(percentEncoded: false)
            _ = try await withProgram(
                "/bin/sh",
                ["-c", "ulimit -Sn 200 && ulimit -Hn 4000 && exec \(products)/\(command)"],
                environment: [
                    "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": directory.path(), "DYN_TCP_RPC_HOST": "127.0.0.1",
                    "DYN_SYSTEM_PORT": nil,
                ]
            ) { program in
                try await eventually("the limit is raised; output so far:\n\(program.output)") {
                    try Self.descriptorLimits(of: program.pid) == ["4000", "4000"]
                }
            }
        }
    }
}
