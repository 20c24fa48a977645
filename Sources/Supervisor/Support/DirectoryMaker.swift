internal import FoundationEssentials
internal import Glibc

/// Makes folders that only their owner can enter.
enum DirectoryMaker {
    struct Failure: Error, CustomStringConvertible {
        var path: String
        var reason: String
        var description: String { "cannot create the folder \(self.path): \(self.reason)" }
    }

    /// Makes a folder and those above it; one that exists is taken as it is.
    ///
    /// - Parameter path: an absolute path.
    /// - Throws: `Failure` when there is none afterwards.
    static func make(_ path: String) throws(Failure) {
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
}
