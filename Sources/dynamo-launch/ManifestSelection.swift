import Deployment
import FoundationEssentials

/// Which manifest a command works on.
struct ManifestSelection {
    let source: ManifestSource
    /// For the first line of output.
    let description: String

    /// The manifest that is used when none is named.
    static let defaultName = "dynamo-launch.yaml"

    /// Why there is no manifest.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// The named file, else `dynamo-launch.yaml` here, else the embedded deployment.
    static func select(_ path: String?, subcommands: [String]) throws -> ManifestSelection {
        if let path {
            return ManifestSelection(source: try self.read(path, subcommands: subcommands), description: path)
        }
        if FileManager.default.fileExists(atPath: self.defaultName) {
            let source = try self.read(self.defaultName, subcommands: [])
            return ManifestSelection(
                source: source,
                description: "\(self.defaultName) (found in the working directory)"
            )
        }
        return ManifestSelection(
            source: ManifestSource(path: EmbeddedManifest.path, text: EmbeddedManifest.text),
            description: "the embedded deployment (no manifest named, and no \(self.defaultName) here)"
        )
    }

    private static func read(_ path: String, subcommands: [String]) throws -> ManifestSource {
        var isDirectory = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
            let looksLikeFile = path.contains("/") || path.contains(".")
            let nearest = looksLikeFile ? nil : Spelling.nearest(to: path, among: subcommands)
            let hint = nearest.map { "; did you mean the subcommand '\($0)'?" } ?? ""
            throw Failure(description: "error: no manifest '\(path)': there is no such file\(hint)")
        }
        guard !isDirectory else {
            throw Failure(description: "error: '\(path)' is a folder; name the manifest in it")
        }
        guard let data = FileManager.default.contents(atPath: path) else {
            throw Failure(description: "error: '\(path)' cannot be read: check its permissions")
        }
        return try ManifestSource(path: path, bytes: Array(data))
    }
}
