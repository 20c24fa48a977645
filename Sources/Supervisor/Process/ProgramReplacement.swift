internal import CProcess
internal import Glibc

/// Another program in the place of this one.
package enum ProgramReplacement {
    /// Executes a program with this one's environment; of this one's descriptors it has the first three.
    ///
    /// - Parameters:
    ///   - path: the program.
    ///   - arguments: argv, with argv[0].
    /// - Returns: why it could not; else it does not return.
    package static func execute(_ path: String, _ arguments: [String]) -> String {
        var list = arguments.map { strdup($0) }
        list.append(nil)
        defer { for entry in list { free(entry) } }
        let error = dynamo_replace_program(path, &list)
        return "cannot execute \(path): \(errorText(error))"
    }
}
