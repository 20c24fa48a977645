import Deployment
import FoundationEssentials
import Subprocess
import SystemPackage
import Systemd

/// Finds out which release of Dynamo a Python interpreter has.
enum ReleaseDetector {
    /// The installed release of `ai-dynamo`.
    ///
    /// A virtual environment is read from its folder, which takes no time; any other interpreter is asked.
    static func detect(python: String) async -> Result<DynamoRelease, ReleaseProblem> {
        if let release = self.readVirtualEnvironment(of: python) { return .success(release) }
        return await self.ask(python)
    }

    private static func readVirtualEnvironment(of python: String) -> DynamoRelease? {
        let root = python.split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
        let files = FileManager.default
        guard files.fileExists(atPath: "\(root)/pyvenv.cfg") else { return nil }
        let libraries = (try? files.contentsOfDirectory(atPath: "\(root)/lib")) ?? []
        for library in libraries.sorted() where library.hasPrefix("python3") {
            let packages = (try? files.contentsOfDirectory(atPath: "\(root)/lib/\(library)/site-packages")) ?? []
            for package in packages where package.hasPrefix("ai_dynamo-") && package.hasSuffix(".dist-info") {
                if let release = self.parse(package.dropFirst("ai_dynamo-".count).dropLast(".dist-info".count)) {
                    return release
                }
            }
        }
        return nil
    }

    /// What the service manager says to the launcher, the interpreter must not hear.
    private static var withheld: [Environment.Key: String?] {
        Dictionary(uniqueKeysWithValues: ServiceEnvironment.variables.map { (Environment.Key(stringLiteral: $0), nil) })
    }

    private static func ask(_ python: String) async -> Result<DynamoRelease, ReleaseProblem> {
        let question = "import importlib.metadata as m; print(m.version('ai-dynamo'))"
        do {
            let answer = try await run(
                .path(FilePath(python)),
                arguments: ["-c", question],
                environment: .inherit.updating(Self.withheld),
                output: .string(limit: 4096),
                error: .string(limit: 65536)
            )
            guard case .exited(0) = answer.terminationStatus else {
                let lines = answer.standardError.split(separator: "\n")
                if lines.last?.contains("PackageNotFoundError") == true {
                    return .failure(ReleaseProblem(reason: "\(python) has no package ai-dynamo"))
                }
                let reason = lines.last.map(String.init) ?? "\(answer.terminationStatus)"
                return .failure(ReleaseProblem(reason: "\(python) could not say which ai-dynamo it has: \(reason)"))
            }
            let text = answer.standardOutput.split(whereSeparator: \.isWhitespace).first ?? ""
            guard let release = self.parse(text) else {
                return .failure(ReleaseProblem(reason: "\(python) has ai-dynamo '\(text)', which is no release number"))
            }
            return .success(release)
        } catch {
            return .failure(ReleaseProblem(reason: "\(python) could not be run: \(error)"))
        }
    }

    /// `1.2.1`, also with a suffix such as `1.3.0.post1` or `1.3.0rc1`.
    static func parse(_ text: some StringProtocol) -> DynamoRelease? {
        let parts = text.split(separator: ".").prefix(3).map { part in Int(part.prefix { $0.isASCII && $0.isNumber }) }
        guard parts.count >= 2, let major = parts[0], let minor = parts[1] else { return nil }
        return DynamoRelease(major, minor, parts.count > 2 ? parts[2] ?? 0 : 0)
    }
}
