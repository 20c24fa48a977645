internal import FoundationEssentials
internal import Glibc

/// Makes folders that only their owner can enter.
package enum DirectoryMaker {
    /// A folder could not be made.
    package struct Failure: Error, CustomStringConvertible {
        package var path: String
        package var reason: String
        package var description: String { "cannot create the folder \(self.path): \(self.reason)" }
    }

    /// Makes a folder and those above it; one that exists is taken as it is.
    ///
    /// - Parameter path: an absolute path.
    /// - Throws: `Failure` when there is none afterwards.
    package static func make(_ path: String) throws(Failure) {
        var prefix = ""
        for part in path.split(separator: "/") {
            prefix += "/\(part)"
            if mkdir(prefix, 0o700) != 0, errno != EEXIST, access(prefix, F_OK) != 0 {
                throw Failure(path: prefix, reason: errorText(errno))
            }
        }
        var isFolder = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder else {
            throw Failure(path: path, reason: "it is not a folder")
        }
    }

    /// Opens a file for its owner alone, and makes the folder that it is in when somebody has taken that away.
    ///
    /// - Parameters:
    ///   - path: an absolute path.
    ///   - flags: as for `open`.
    /// - Returns: a descriptor or a negated errno.
    static func open(_ path: String, _ flags: Int32) -> Int32 {
        let descriptor = Glibc.open(path, flags | O_CLOEXEC, 0o600)
        guard descriptor < 0 else { return descriptor }
        let code = errno
        guard code == ENOENT, path.hasPrefix("/"), let slash = path.lastIndex(of: "/") else { return -code }
        // Why there is no folder is what the second try says.
        try? self.make(String(path[..<slash]))
        let second = Glibc.open(path, flags | O_CLOEXEC, 0o600)
        return second < 0 ? -errno : second
    }
}
