import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc

/// A folder of objects on this machine; says what it does.
struct ObjectFolder {
    let path: String

    /// Whether it has a migration of ours, perhaps not all of it.
    var hasMigration: Bool { ["migrate.sh", "switch.yaml"].contains(where: self.isOurs) }

    /// Whether it has objects of ours.
    var hasObjects: Bool {
        let present = (try? FileManager.default.contentsOfDirectory(atPath: self.path)) ?? []
        return present.contains { $0.hasSuffix(".yaml") && self.isOurs($0) }
    }

    /// Writes files, and removes those of ours that are no more; one that somebody else wrote is left alone.
    ///
    /// - Throws: `ExitCode` after the error was printed, and nothing was written if a file is not ours.
    func write(_ files: [ObjectFiles.File]) throws {
        try self.check(files)
        do {
            try FileManager.default.createDirectory(atPath: self.path, withIntermediateDirectories: true)
            for file in files {
                let target = "\(self.path)/\(file.name)"
                try Data(file.text.utf8).write(to: URL(filePath: target), options: .atomic)
                Terminal.print("wrote \(target)")
            }
            let names = Set(files.map(\.name))
            let present = try FileManager.default.contentsOfDirectory(atPath: self.path)
            for name in present.sorted() where name.hasSuffix(".yaml") && !names.contains(name) && self.isOurs(name) {
                try FileManager.default.removeItem(atPath: "\(self.path)/\(name)")
                Terminal.print("removed \(self.path)/\(name)")
            }
        } catch {
            throw Self.failure("the objects cannot be written into '\(self.path)': \(error.localizedWords)")
        }
    }

    /// - Throws: `ExitCode` after the error was printed, if the folder is a file, or one of the files is there and not ours.
    func check(_ files: [ObjectFiles.File]) throws(ExitCode) {
        var isFolder = false
        if FileManager.default.fileExists(atPath: self.path, isDirectory: &isFolder), !isFolder {
            throw Self.failure(
                "'\(self.path)' is a file, and objects are written into a folder: name another one; nothing was written"
            )
        }
        for file in files where !self.mayReplace(file.name) {
            throw Self.failure(
                "'\(self.path)/\(file.name)' was not written by dynamo-launch: move it away, or name another folder"
            )
        }
    }

    private func mayReplace(_ name: String) -> Bool {
        !FileManager.default.fileExists(atPath: "\(self.path)/\(name)") || self.isOurs(name)
    }

    private func isOurs(_ name: String) -> Bool {
        FileManager.default.contents(atPath: "\(self.path)/\(name)")
            .map {
                let text = String(decoding: $0, as: UTF8.self)
                return text.hasPrefix(ObjectFiles.mark) || text.hasPrefix(KubernetesMigration.scriptMark)
            } ?? false
    }

    static func failure(_ message: String) -> ExitCode {
        Terminal.printError("error: \(message)")
        return ExitCode(1)
    }
}

extension Error {
    /// What the system says, in short.
    fileprivate var localizedWords: String {
        if let error = self as? CocoaError, let code = (error.underlying as? POSIXError)?.code {
            return String(cString: strerror(code.rawValue))
        }
        return "\(self)"
    }
}
