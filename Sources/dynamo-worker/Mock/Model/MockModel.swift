import Discovery
import FoundationEssentials

/// The model folder that frontends tokenize with.
struct MockModel: Sendable {
    let files: ModelCard.Files
    /// What answers are made of.
    let vocabulary: [UInt32]

    /// A folder that cannot be used.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// Uses somebody's model.
    ///
    /// - Parameter folder: has `config.json`, `tokenizer.json` and `tokenizer_config.json`.
    /// - Throws: `Failure` when one of them cannot be read.
    init(folder: String) throws {
        let root = URL(filePath: folder, directoryHint: .isDirectory).standardizedFileURL
        func file(_ name: String) throws -> (ModelCard.File, [UInt8]) {
            let path = root.appending(path: name, directoryHint: .notDirectory).path
            do {
                let content = [UInt8](try Data(contentsOf: URL(filePath: path)))
                return (ModelCard.File(path: path, content: content), content)
            } catch {
                throw Failure(
                    description: """
                        --model-path is '\(folder)', but its \(name) cannot be read: \(error); name a folder with a model in \
                        Hugging Face's form, or leave the option out
                        """
                )
            }
        }
        let (config, text) = try file("config.json")
        guard let size = try? JSONValue(parsing: text)["vocab_size"]?.int, size >= 4, size <= Int(Int32.max) else {
            throw Failure(description: "\(config.path) has no `vocab_size`; the engine takes its tokens from there")
        }
        let generation = "generation_config.json"
        let hasGeneration = FileManager.default.fileExists(atPath: root.appending(path: generation).path)
        self.files = ModelCard.Files(
            config: config,
            tokenizer: try file("tokenizer.json").0,
            tokenizerConfig: try file("tokenizer_config.json").0,
            generationConfig: hasGeneration ? try file(generation).0 : nil
        )
        // Special tokens are the first ones or the last ones.
        self.vocabulary = Array(UInt32(size / 4)..<UInt32(size - size / 4))
    }

    /// Writes the byte-level model, unless it is there, where frontends on this machine can read it.
    ///
    /// - Parameters:
    ///   - contextLength: the most tokens that prompt and answer may have together.
    ///   - state: the folder for state of programs; nil takes that of the environment.
    /// - Throws: `Failure` when it cannot be written.
    init(contextLength: Int, state: String? = nil) throws {
        let model = ByteLevelModel(contextLength: contextLength)
        // A name for each content: what a running frontend reads never changes.
        let name = BLAKE3.hex(model.files.flatMap(\.content)).prefix(16)
        let folder = URL(filePath: state ?? Self.stateFolder, directoryHint: .isDirectory)
            .appending(path: "dynamo-worker/byte-level-\(name)", directoryHint: .isDirectory)
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            for file in model.files {
                let target = folder.appending(path: file.name, directoryHint: .notDirectory)
                if let there = try? Data(contentsOf: target), there.elementsEqual(file.content) { continue }
                // Other workers may start at this moment: they see a whole file or none.
                try Data(file.content).write(to: target, options: .atomic)
            }
        } catch {
            throw Failure(
                description: """
                    the tokenizer cannot be written to \(folder.path): \(error); set XDG_STATE_HOME to a folder that this \
                    user may write to, or name a model with --model-path
                    """
            )
        }
        let files = try Self(folder: folder.path).files
        self.files = files
        self.vocabulary = ByteLevelModel.letters
    }

    private static var stateFolder: String {
        let environment = ProcessInfo.processInfo.environment
        // What systemd made for a service (systemd.exec(5)) is all that it may write to.
        let own = environment["STATE_DIRECTORY"]?.split(separator: ":").first.map(String.init)
        for folder in [own, environment["XDG_STATE_HOME"]].compactMap({ $0 }) where folder.hasPrefix("/") {
            return folder
        }
        return FileManager.default.homeDirectoryForCurrentUser.appending(path: ".local/state").path
    }
}
