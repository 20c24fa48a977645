import TestSupport

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What a program on PATH writes until it ends.
func outputOf(
    _ program: String,
    _ arguments: [String],
    environment: [String: String?] = [:],
    in folder: URL
) async throws -> String {
    try await withProgram(
        "/usr/bin/env",
        [program] + arguments,
        environment: environment,
        workingDirectory: folder.path
    ) { program in
        try await program.waitForExit()
        return program.output
    }.value
}
