package import Foundation

/// What `Tests/run.sh` provides.
///
/// Something missing fails a test; it never skips one.
package enum TestEnvironment {
    /// A release of Dynamo that is installed for the tests.
    package enum DynamoPeer: String, Sendable, CaseIterable {
        case v121 = "DYNAMO_121_PYTHON"
        case v161 = "DYNAMO_161_PYTHON"
    }

    /// A peer that the tests need is not there.
    package struct Missing: Error, CustomStringConvertible {
        package let description: String
    }

    /// The root of the checkout.
    package static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// The folder of the programs that were built with this test.
    package static let products = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()

    /// The interpreter that has a release of Dynamo.
    ///
    /// - Parameter peer: which release.
    /// - Returns: the path of the interpreter.
    /// - Throws: `Missing` when the tests were not started through `Tests/run.sh`.
    package static func python(_ peer: DynamoPeer) throws -> String { try self.variable(peer.rawValue) }

    /// A model folder that real frontends and mockers accept.
    ///
    /// - Returns: its path.
    /// - Throws: `Missing` when the tests were not started through `Tests/run.sh`.
    package static func model() throws -> String { try self.variable("DYNAMO_TEST_MODEL") }

    /// Programs that read and judge Kubernetes objects: `kubectl`, `checkov`, and a `python` that has `kubernetes_validate`.
    ///
    /// - Parameter name: of the program.
    /// - Returns: its path.
    /// - Throws: `Missing` when the tests were not started through `Tests/run.sh`.
    package static func kubernetesTool(_ name: String) throws -> String {
        "\(try self.variable("DYNAMO_KUBERNETES_TOOLS"))/\(name)"
    }

    private static func variable(_ name: String) throws -> String {
        guard let value = ProcessInfo.processInfo.environment[name], !value.isEmpty else {
            throw Missing(description: "\(name) is not set: start the tests with Tests/run.sh")
        }
        return value
    }
}
