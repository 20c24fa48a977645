internal import CProcess
internal import Deployment
internal import Glibc
internal import NIOPosix
internal import Synchronization

/// A program that is run to its end before anything is started, such as a preflight.
///
/// It has a keeper of its own: whatever becomes of the launcher or of the time limit, nothing of it is left. What the system cannot end,
/// such as a program that waits for a broken device, is left to the keeper.
package struct SingleCommand: Sendable {
    /// How it ended, and what it wrote (the last 64 KiB).
    package struct Result: Sendable {
        package var output: String
        package var errors: String
        /// In words; nil: it ended with 0.
        package var failure: String?
    }

    /// A program by path or by name on the PATH of `environment`, and its arguments; never empty.
    package var words: [String]
    package var environment: [String: String]
    /// Where it runs; absolute.
    package var directory: String
    /// How long a killed program may take to its end.
    private static let patience = Duration.seconds(5)

    /// Seconds, after which it is killed with all that it started.
    package var timeout: Double

    package init(_ words: [String], environment: [String: String], directory: String, timeout: Double) {
        self.words = words
        self.environment = environment
        self.directory = directory
        self.timeout = timeout
    }

    /// Runs it.
    package func run() async -> Result {
        var result = Result(output: "", errors: "", failure: nil)
        guard let program = self.words.first,
            let executable = ProgramSearch.find(program, path: self.environment["PATH"], directory: self.directory)
        else {
            result.failure = "\(self.words.first ?? "") is not on PATH"
            return result
        }
        let (output, errors) = (dynamo_memory_file(), dynamo_memory_file())
        defer {
            close(output)
            close(errors)
        }
        guard output >= 0, errors >= 0 else {
            result.failure = "no file for its output: \(errorText(errno))"
            return result
        }
        let request = SpawnRequest(
            id: 1,
            executable: executable,
            arguments: Array(self.words.dropFirst()),
            environment: self.environment.map { "\($0.key)=\($0.value)" }.sorted(),
            directory: self.directory,
            descriptors: [output, errors]
        )
        do {
            result.failure = try await self.end(of: request)
        } catch {
            result.failure = "\(error)"
        }
        result.output = Self.tail(of: output)
        result.errors = Self.tail(of: errors)
        return result
    }

    private func end(of request: SpawnRequest) async throws -> String? {
        let keeper = try Keeper(lock: -1)
        let (reports, sender) = AsyncStream.makeStream(of: KeeperReport.self)
        let threads = NIOThreadPool(numberOfThreads: 1)
        threads.start()
        let late = Late()
        let failure = await withTaskGroup(of: Void.self) { group in
            group.addTask {
                _ = try? await threads.runIfActive { keeper.receive { sender.yield($0) } }
                sender.finish()
            }
            group.addTask {
                guard (try? await Task.sleep(for: .seconds(self.timeout))) != nil else { return }
                late.isLate.withLock { $0 = true }
                keeper.killTree(request.id)
                guard (try? await Task.sleep(for: Self.patience)) != nil else { return }
                keeper.abandon()
            }
            var failure: String? = "its keeper ended"
            do throws(SpawnError) {
                try keeper.spawn(request)
                failure = await Self.end(in: reports) ?? failure
            } catch { failure = error.description }
            keeper.finish()
            group.cancelAll()
            return failure == "" ? nil : failure
        }
        try? await threads.shutdownGracefully()
        return late.isLate.withLock { $0 } ? "no end within \(Seconds.rendered(self.timeout))" : failure
    }

    /// What the reports say of the program, empty when it ended with 0; nil when they end before.
    private static func end(in reports: AsyncStream<KeeperReport>) async -> String? {
        for await report in reports {
            switch report {
            case .spawnFailed(_, let error): return error.description
            case .exited(1, _, let exit): return exit.isSuccess ? "" : exit.words
            default: continue
            }
        }
        return nil
    }

    /// Whether the time was over.
    private final class Late: Sendable {
        let isLate = Mutex(false)
    }

    private static func tail(of file: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 65536)
        let size = lseek(file, 0, SEEK_END)
        let count = pread(file, &bytes, bytes.count, max(0, size - off_t(bytes.count)))
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}

/// Programs by name.
package enum ProgramSearch {
    /// Looks a program up as a shell would.
    static func find(_ program: String, path: String?, directory: String) -> String? {
        if program.hasPrefix("/") { return program }
        if program.contains("/") { return "\(directory)/\(program)" }
        for folder in (path ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":") {
            let candidate = "\(folder)/\(program)"
            if access(candidate, X_OK) == 0 { return candidate }
        }
        return nil
    }

    /// Whether there is a program that can be executed.
    package static func isThere(_ program: String, path: String?, directory: String) -> Bool {
        self.find(program, path: path, directory: directory).map { access($0, X_OK) == 0 } ?? false
    }
}
