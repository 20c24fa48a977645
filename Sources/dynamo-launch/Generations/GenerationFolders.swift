import Deployment
import FoundationEssentials

/// The folders of generations that are gone.
enum GenerationFolders {
    /// So many generations' logs are kept.
    private static let kept = 5

    /// Removes what a generation does not leave for people: its runtime folder, and logs of those long before it.
    static func forget(_ generation: Int, of directories: DeploymentDirectories, active: Int) {
        // Best effort: what stays is in nobody's way.
        let own = directories.generation(generation)
        // Who gives both the same place still wants the logs.
        if generation > 1, own.runtime != own.state { try? FileManager.default.removeItem(atPath: own.runtime) }
        let old = generation - self.kept
        guard old > 1, old != active else { return }
        try? FileManager.default.removeItem(atPath: directories.generation(old).state)
    }
}
