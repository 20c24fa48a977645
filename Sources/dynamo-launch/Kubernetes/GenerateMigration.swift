import ArgumentParser
import Deployment
import FoundationEssentials

extension PlaneFlag: ExpressibleByArgument {}

extension KubernetesFlavor {
    /// What a migration must know of the form.
    fileprivate var migration: KubernetesMigration.Flavor {
        switch self {
        case .operator: .graph
        case .plain: .plain
        }
    }
}

extension GenerateKubernetesCommand {
    /// Writes what moves the generation to the next one.
    ///
    /// - Parameters:
    ///   - preparation: of the generation that runs.
    ///   - plane: of the next one.
    /// - Throws: `ExitCode` after the error was printed.
    func writeMigration(_ preparation: Preparation, to plane: PlaneFlag) async throws {
        let current = try await self.clusterPlan(preparation, generation: self.generation)
        var options = self.options
        options.plane = plane
        let target = try Preparation(options, orElse: "nothing was written")
        let next = try await self.clusterPlan(target, generation: self.generation + 1)
        let migration: KubernetesMigration
        do throws(ManifestErrors) {
            migration = try KubernetesMigration(
                from: current,
                try self.flavor.objects(of: current),
                to: next,
                try self.flavor.objects(of: next),
                flavor: self.flavor.migration
            )
        } catch { throw Self.report(error) }
        for note in next.notes + next.secretNotes + migration.notes { Terminal.printError("note: \(note)") }
        if current.planes.request == next.planes.request {
            Terminal.printError(
                "note: both generations are on \(plane.rawValue): nothing but the generation is another one"
            )
        }
        try self.fidelity.tell(target.manifest, for: self.flavor.target, FidelityReport.Facts(next))
        let folder = ObjectFolder(path: self.output)
        guard folder.hasMigration || !folder.hasObjects else {
            throw ObjectFolder.failure(
                "'\(self.output)' has the objects of a generation, which would be removed: name another folder; nothing was written"
            )
        }
        try self.write(migration.files)
        Terminal.print("to migrate, run:")
        Terminal.print("  \(self.output)/migrate.sh all")
    }

    private func write(_ files: [KubernetesMigration.File]) throws {
        var folders: [String: [ObjectFiles.File]] = [:]
        for file in files {
            var parts = file.name.split(separator: "/").map(String.init)
            let name = parts.removeLast()
            folders[([self.output] + parts).joined(separator: "/"), default: []]
                .append(ObjectFiles.File(name: name, text: file.text))
        }
        for (folder, files) in folders { try ObjectFolder(path: folder).check(files) }
        for (folder, files) in folders.sorted(by: { $0.key < $1.key }) {
            try ObjectFolder(path: folder).write(files)
        }
        for file in files where file.isExecutable {
            let path = "\(self.output)/\(file.name)"
            do {
                try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
            } catch {
                Terminal.printError("error: '\(path)' cannot be made executable: \(error)")
                throw ExitCode(1)
            }
        }
    }
}
