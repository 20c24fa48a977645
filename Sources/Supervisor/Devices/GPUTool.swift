/// `nvidia-smi`, where there is one: who holds how much memory of which GPU.
package struct GPUTool: Sendable, Hashable {
    /// A process that holds memory.
    package struct User: Sendable, Hashable {
        package var pid: Int32
        /// MiB; nil: the driver does not tell.
        package var memory: Int?
        /// By its identifier, `GPU-...`.
        package var device: String
    }

    private let environment: [String: String]

    /// Nil when there is none.
    ///
    /// - Parameter environment: whose `PATH` has the program.
    package init?(environment: [String: String]) {
        guard Self.path(environment) != nil else { return nil }
        self.environment = environment
    }

    static func path(_ environment: [String: String]) -> String? {
        ProgramSearch.find("nvidia-smi", path: environment["PATH"], directory: "/")
    }

    /// The processes that hold memory of any GPU.
    ///
    /// - Parameter timeout: seconds: it hangs when a GPU has fallen off the bus.
    /// - Returns: nil when the program fails.
    package func users(timeout: Double = 10) async -> [User]? {
        let command = SingleCommand(
            ["nvidia-smi", "--query-compute-apps=pid,used_memory,gpu_uuid", "--format=csv,noheader,nounits"],
            environment: self.environment,
            directory: "/",
            timeout: timeout
        )
        let result = await command.run()
        return result.failure == nil ? Self.users(in: result.output) : nil
    }

    /// MiB by process, of those that are known.
    package static func memory(_ users: [User]) -> [Int32: Int] {
        users.reduce(into: [:]) { memory, user in
            if let amount = user.memory { memory[user.pid, default: 0] += amount }
        }
    }

    /// Reads what it says, a line for each process and device: `4711, 20480, GPU-8f3c`; `[N/A]` is memory that is not known.
    static func users(in text: String) -> [User] {
        text.split(whereSeparator: \.isNewline).compactMap { line in
            let fields = line.split(separator: ",").map { String($0).trimmed }
            guard fields.count == 3, let pid = Int32(fields[0]) else { return nil }
            return User(pid: pid, memory: Int(fields[1]), device: fields[2])
        }
    }
}
