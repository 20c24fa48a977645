package import Foundation

/// Runs a body with a fresh folder that is removed afterwards.
///
/// The path is short, because Unix sockets live in it.
///
/// - Parameter body: gets the folder.
/// - Returns: what the body returns.
/// - Throws: what the body throws, or an error of the file system.
package func withTemporaryDirectory<Value>(_ body: (URL) async throws -> Value) async throws -> Value {
    let name = "dl-" + String(UInt64.random(in: 0...(.max)), radix: 36)
    let directory = URL(filePath: "/tmp").appending(path: name)
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    return try await body(directory)
}
