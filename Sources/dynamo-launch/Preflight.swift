import Deployment
import FoundationEssentials
import Supervisor

/// Commands of the manifest that may refuse the start, and whose output arguments can use.
struct Preflight {
    let environment: [String: String]

    /// What commands of a migration's new generation see besides: a device that the old one has is not free yet.
    static let migration = ["DYNAMO_LAUNCH_MIGRATION": "1"]

    /// Runs those that were not run for this start yet, one after another in the order of the manifest.
    ///
    /// - Returns: the values by name.
    /// - Throws: `Preparation.Failure` when one refuses.
    func values(
        _ preflights: [PreflightManifest],
        _ ports: PortSource
    ) async throws(Preparation.Failure) -> [String: String] {
        var values: [String: String] = [:]
        for preflight in preflights {
            let value: String
            if let known = ports.preflight(preflight.command) {
                value = known
            } else {
                value = try await self.value(preflight)
                ports.setPreflight(preflight.command, value)
            }
            // No line is no value.
            if !value.isEmpty { values[preflight.name.value] = value }
        }
        return values
    }

    /// What a plan says of one.
    ///
    /// - Parameters:
    ///   - preflight: it.
    ///   - values: of those that were run; nil: none was.
    /// - Returns: a note.
    func note(of preflight: PreflightManifest, _ values: [String: String]?) -> String {
        let name = "preflight '\(preflight.name.value)'"
        guard let values else {
            let directory = FileManager.default.currentDirectoryPath
            let program = preflight.command.first ?? ""
            guard ProgramSearch.isThere(program, path: self.environment["PATH"], directory: directory) else {
                return "\(name) is run at the start, and would refuse it here: there is no program '\(program)'"
            }
            return "\(name) is run at the start, before anything else, and may refuse it; its value is known then"
        }
        return values[preflight.name.value].map { "\(name) agrees: \($0)" } ?? "\(name) agrees"
    }

    /// The last line that it writes.
    private func value(_ preflight: PreflightManifest) async throws(Preparation.Failure) -> String {
        let command = SingleCommand(
            preflight.command,
            environment: self.environment,
            directory: FileManager.default.currentDirectoryPath,
            timeout: preflight.timeout
        )
        let result = await command.run()
        guard let failure = result.failure else { return Self.lines(result.output).last ?? "" }
        let secrets = Secrets.values(in: self.environment)
        let said = (Self.lines(result.errors) + (result.errors.isEmpty ? Self.lines(result.output) : [])).map {
            Secrets.masking($0, values: secrets).printable
        }
        let place = preflight.name.location
        throw Preparation.Failure(
            ["\(place): error: preflight '\(preflight.name.value)' refuses the start: \(failure)"]
                + said.suffix(10).map { "  \($0)" } + ["1 error"]
        )
    }

    /// Those that are not blank, without the blanks around them.
    private static func lines(_ text: String) -> [String] {
        text.split(whereSeparator: \.isNewline)
            .map { line in
                var line = line.drop { $0.isWhitespace }
                while line.last?.isWhitespace ?? false { line.removeLast() }
                return String(line)
            }
            .filter { !$0.isEmpty }
    }
}
