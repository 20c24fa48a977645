/// What the planner needs to know about the machine and the caller.
///
/// With the same facts it always makes the same plan.
package struct PlanFacts {
    /// The caller's environment.
    package var environment: [String: String]
    /// What of it is passed on, when that is another one: of a deployment that goes on, that of its start.
    package var inherited: [String: String]?
    /// The caller's working directory.
    package var workingDirectory: String
    package var homeDirectory: String
    /// Where `dynamo-frontend`, `dynamo-router` and `dynamo-worker` are.
    package var builtinDirectory: String
    package var temporaryDirectory: String
    /// For the private folder under the temporary directory when there is no runtime directory.
    package var userID: UInt32
    /// Whether a file exists and may be run.
    package var isExecutable: (String) -> Bool
    package var directoryExists: (String) -> Bool
    /// Asks a Python interpreter (absolute path) which release of Dynamo it has.
    package var detectRelease: (String) -> Result<DynamoRelease, ReleaseProblem>
    /// A port that nobody else uses.
    package var leasePort: (PortRequest) throws -> Int
    /// What stands after `--` on the command line.
    package var passthroughArguments: [String]
    /// The values of preflights by name; nil: they are run later, and a plan that is only shown says so in their place.
    package var preflight: [String: String]?
    /// Which generation of the deployment is planned; see `Plan.generation`.
    package var generation: Int
    package var devices: DeviceFacts

    package init(
        environment: [String: String],
        workingDirectory: String,
        homeDirectory: String,
        builtinDirectory: String,
        temporaryDirectory: String = "/tmp",
        userID: UInt32,
        isExecutable: @escaping (String) -> Bool,
        directoryExists: @escaping (String) -> Bool,
        detectRelease: @escaping (String) -> Result<DynamoRelease, ReleaseProblem>,
        leasePort: @escaping (PortRequest) throws -> Int,
        passthroughArguments: [String] = [],
        preflight: [String: String]? = [:],
        generation: Int = 1,
        inherited: [String: String]? = nil,
        devices: DeviceFacts = DeviceFacts()
    ) {
        self.inherited = inherited
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.homeDirectory = homeDirectory
        self.builtinDirectory = builtinDirectory
        self.temporaryDirectory = temporaryDirectory
        self.userID = userID
        self.isExecutable = isExecutable
        self.directoryExists = directoryExists
        self.detectRelease = detectRelease
        self.leasePort = leasePort
        self.passthroughArguments = passthroughArguments
        self.preflight = preflight
        self.generation = generation
        self.devices = devices
    }

    /// The program of that name on the caller's PATH.
    func onPath(_ name: String, path: String?) -> String? {
        let path = path ?? self.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
        for directory in path.split(separator: ":", omittingEmptySubsequences: false) {
            let directory = directory.isEmpty ? self.workingDirectory : String(directory)
            let candidate = FilePathText.resolve("\(directory)/\(name)", against: self.workingDirectory)
            if self.isExecutable(candidate) { return candidate }
        }
        return nil
    }
}

/// Why the release of Dynamo is not known.
package struct ReleaseProblem: Error, Sendable, Hashable {
    /// For example `No module named 'dynamo'`.
    package var reason: String

    package init(reason: String) {
        self.reason = reason
    }
}

/// Which port is wanted, and for whom.
package struct PortRequest: Sendable, Hashable {
    package var process: String
    package var index: Int
    /// The manifest's name of the port.
    package var name: String
    /// So many in a row; the port is the first.
    package var count: Int
    package var range: ClosedRange<Int>
    /// Ports that the plan uses already.
    package var avoiding: Set<Int>

    package init(
        process: String,
        index: Int,
        name: String,
        count: Int = 1,
        range: ClosedRange<Int>,
        avoiding: Set<Int> = []
    ) {
        self.process = process
        self.index = index
        self.name = name
        self.count = count
        self.range = range
        self.avoiding = avoiding
    }
}

/// Paths as text.
package enum FilePathText {
    /// An absolute path without `.` and `..`.
    package static func resolve(_ path: String, against directory: String) -> String {
        let absolute = path.hasPrefix("/") ? path : "\(directory)/\(path)"
        var parts: [Substring] = []
        for part in absolute.split(separator: "/") {
            switch part {
            case ".": break
            case "..": _ = parts.popLast()
            default: parts.append(part)
            }
        }
        return "/" + parts.joined(separator: "/")
    }

    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
