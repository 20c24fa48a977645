internal import CProcess
internal import Deployment
internal import Glibc

/// What launchers and keepers of several versions must agree on.
package enum KeeperProtocol {
    package static let version = Int(DYNAMO_KEEPER_VERSION)
}

/// Keepers whose launcher is gone, and what can be asked of them.
enum KeeperVisit {
    /// How long a keeper may take: one that has just lost its launcher answers when it has noticed.
    static let patience: Int32 = 5000

    /// What a keeper says of itself.
    struct Report: Sendable, Hashable {
        var pid: Int32
        var running: Int
        /// Those that have ended since, and whose end nobody has heard of.
        var ended: Int
        /// Seconds since 1970.
        var launcherEnded: Double
    }

    /// The doors of the keepers of a deployment that there may be, with the numbers of their generations, later ones last.
    static func doors(under runtime: String) -> [(generation: Int, path: String)] {
        var folders: [(number: Int, path: String)] = [(1, runtime)]
        if let directory = opendir(runtime) {
            defer { closedir(directory) }
            while let record = readdir(directory) {
                let name = withUnsafePointer(to: &record.pointee.d_name) { pointer in
                    pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                guard name.hasPrefix("g"), let number = Int(name.dropFirst()), number > 1 else { continue }
                folders.append((number, "\(runtime)/\(name)"))
            }
        }
        return folders.sorted { $0.number < $1.number }.map { ($0.number, "\($0.path)/\(Self.name)") }.filter {
            access($0.1, F_OK) == 0
        }
    }

    static let name = "keeper.sock"

    /// The door of the keeper that only keeps the process of the public port.
    static func portDoor(under runtime: String) -> String { "\(runtime)/gateway-keeper.sock" }

    /// Asks the keeper behind a door how many processes it has; nil: there is none, or it has a launcher.
    static func look(_ door: String, patience: Int32 = Self.patience) -> Report? {
        self.look(door, patience)?.report
    }

    private static func look(_ door: String, _ patience: Int32) -> (report: Report, version: Int32)? {
        var socket: Int32 = -1
        guard dynamo_keeper_knock(door, patience, &socket) == 0 else { return nil }
        defer { close(socket) }
        guard dynamo_keeper_ask(socket, UInt32(DYNAMO_REQUEST_LOOK), 0, 0, 0, -1) == 0 else { return nil }
        return self.report(socket).map { ($0.report, $0.contents.version) }
    }

    /// Has the keeper behind a door end everything.
    ///
    /// - Returns: whether there is one; it may take some seconds.
    static func finish(_ door: String) -> Bool {
        var socket: Int32 = -1
        guard dynamo_keeper_knock(door, Self.patience, &socket) == 0 else { return false }
        defer { close(socket) }
        guard dynamo_keeper_ask(socket, UInt32(DYNAMO_REQUEST_FINISH), 0, 0, 0, -1) == 0 else { return false }
        // It closes the connection when it begins.
        var report = dynamo_report()
        return dynamo_keeper_receive(socket, &report) <= 0
    }

    /// Takes over the keeper behind a door, if a process is one of its programs; otherwise it goes on as it was.
    ///
    /// - Returns: the keeper and its number of the program.
    static func adopt(_ door: String, running pid: Int32) -> (keeper: Keeper, id: UInt64)? {
        guard self.look(door, Self.patience)?.version == Int32(DYNAMO_KEEPER_VERSION) else { return nil }
        var socket: Int32 = -1
        guard dynamo_keeper_knock(door, Self.patience, &socket) == 0 else { return nil }
        var id: UInt64?
        defer { if id == nil { close(socket) } }
        guard dynamo_keeper_ask(socket, UInt32(DYNAMO_REQUEST_ADOPT), 0, 0, 0, -1) == 0,
            let (report, contents) = Self.report(socket)
        else { return nil }
        for file in contents.files { close(file) }
        var found: UInt64?
        for _ in 0..<contents.processes {
            guard let (child, descriptors) = Self.receive(socket) else { return nil }
            for descriptor in descriptors { close(descriptor) }
            if child.pid == pid, child.step == 0 { found = child.id }
        }
        guard let leases = Self.leases(socket, contents.leases) else { return nil }
        for lease in leases { close(lease) }
        guard let found else { return nil }
        id = found
        dynamo_keeper_limit(socket, 0)
        return (Keeper(adopted: socket, pid: report.pid), found)
    }

    /// What comes with a keeper's report, and after it when it hands everything over.
    struct Contents: Sendable {
        var version: Int32
        /// The lock, and what the launcher had it keep.
        var files: [Int32]
        /// So many of each follow.
        var processes: Int
        var leases: Int
    }

    /// The first report on a connection, with the descriptors that came along.
    static func report(_ socket: Int32) -> (report: Report, contents: Contents)? {
        guard let (report, files) = Self.receive(socket) else { return nil }
        guard report.kind == UInt32(DYNAMO_REPORT_KEPT) else {
            for file in files { close(file) }
            return nil
        }
        let found = Report(
            pid: report.pid,
            running: Int(report.id),
            ended: Int(report.status) - Int(report.id),
            launcherEnded: Double(report.note)
        )
        let contents = Contents(
            version: report.step,
            files: files,
            processes: Int(report.status),
            leases: Int(report.start_time)
        )
        return (found, contents)
    }

    /// Sockets whose names are leases, which follow the processes; nil when they do not come.
    static func leases(_ socket: Int32, _ count: Int) -> [Int32]? {
        var leases: [Int32] = []
        while leases.count < count {
            guard let (report, descriptors) = Self.receive(socket) else {
                for lease in leases { close(lease) }
                return nil
            }
            leases += descriptors
            guard report.kind == UInt32(DYNAMO_REPORT_LEASES), !descriptors.isEmpty else {
                for lease in leases { close(lease) }
                return nil
            }
        }
        return leases
    }

    static func receive(_ socket: Int32) -> (report: dynamo_report, descriptors: [Int32])? {
        var report = dynamo_report()
        var descriptors = [Int32](repeating: -1, count: Int(DYNAMO_MAXIMUM_KEPT))
        var count: UInt32 = 0
        guard dynamo_keeper_receive_with(socket, &report, &descriptors, &count) == 1 else { return nil }
        return (report, Array(descriptors.prefix(Int(count))))
    }
}
