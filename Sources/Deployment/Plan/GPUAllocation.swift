/// Which devices each replica gets.
///
/// Where the caller's own environment limits the devices (`CUDA_VISIBLE_DEVICES`, `ZE_AFFINITY_MASK`), indexes of the manifest count
/// in that list, as they would for a program that was started there.
struct GPUAllocation {
    /// Why a replica cannot have what the manifest says.
    struct Problem: Hashable {
        var location: Location
        var message: String
        var remedy: String
        /// It is the machine's, at this moment, and not the manifest's.
        var isOfMachine: Bool
    }

    /// By process and replica; a process that does not mention devices is missing.
    private(set) var devices: [String: [[String]]] = [:]
    private(set) var problems: [Problem] = []

    private let facts: DeviceFacts
    private let variable: String
    /// What the caller's environment allows; nil: everything.
    private let visible: [String]?
    /// Devices that the manifest names, and those that were given out.
    private var used: Set<String> = []

    init(_ processes: [ProcessManifest], device: Device, environment: [String: String], facts: DeviceFacts) {
        self.facts = facts
        self.variable = device.variable
        self.visible = environment[device.variable].map(Self.list)
        for process in processes {
            guard let gpus = process.gpus else { continue }
            switch gpus.selection {
            case .devices(let all):
                let names = all.compactMap { self.device($0, of: process, gpus) }
                let share = process.replicas > 0 ? names.count / process.replicas : 0
                self.devices[process.name.value] = (0..<process.replicas).map {
                    Array(names[$0 * share..<($0 + 1) * share])
                }
            case .lists(let lists):
                self.devices[process.name.value] = lists.map { list in
                    list.compactMap { self.device($0, of: process, gpus) }
                }
            case .count: break
            }
        }
        self.used.formUnion(self.devices.values.joined().joined())
        let counted = processes.compactMap { process in
            if let gpus = process.gpus, case .count(let count) = gpus.selection { (process, gpus, count) } else { nil }
        }
        // What was given before stays, so that a plan that is made again is the same, and what runs keeps what it has.
        for (process, _, count) in counted { self.keep(count, for: process) }
        for (process, gpus, count) in counted { self.choose(count, for: process, gpus) }
    }

    /// The devices of such a variable; what follows the first that cannot be one does not count, as CUDA has it.
    private static func list(_ text: String) -> [String] {
        var devices: [String] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let name = part.filter { !$0.isWhitespace }
            guard !name.isEmpty, name.first != "-" else { break }
            devices.append(String(name))
        }
        return devices
    }

    // MARK: Named devices

    private mutating func device(_ name: String, of process: ProcessManifest, _ gpus: GPUManifest) -> String? {
        guard let index = Int(name) else {
            self.checkHolder(of: name, process, gpus)
            return name
        }
        var name = name
        if let visible = self.visible {
            guard visible.indices.contains(index) else {
                self.problems.append(
                    Problem(
                        location: gpus.location,
                        message:
                            "process '\(process.name.value)' wants GPU \(index), and \(self.variable) of the caller has \(Self.count(visible.count)) "
                            + "(\(Spelling.excerpt(visible.joined(separator: ","))))",
                        remedy: "indexes count in that list, from 0: change 'gpus', or unset \(self.variable)",
                        isOfMachine: false
                    )
                )
                return nil
            }
            name = visible[index]
        }
        if let known = self.facts.known, Int(name) != nil, !known.contains(name) {
            self.problems.append(
                Problem(
                    location: gpus.location,
                    message:
                        "process '\(process.name.value)' wants GPU \(name), and this machine has "
                        + (known.isEmpty ? "none" : "\(Self.count(known.count)) (\(known.joined(separator: ", ")))"),
                    remedy: "change 'gpus'",
                    isOfMachine: true
                )
            )
        }
        self.checkHolder(of: name, process, gpus)
        return name
    }

    private mutating func checkHolder(of name: String, _ process: ProcessManifest, _ gpus: GPUManifest) {
        guard let holder = self.facts.taken[name] else { return }
        self.problems.append(
            Problem(
                location: gpus.location,
                message: "GPU \(name) of process '\(process.name.value)' is held by \(holder)",
                remedy: Self.remedy,
                isOfMachine: true
            )
        )
    }

    private static let remedy =
        "stop that deployment, give other devices under 'gpus', or write 'gpuSharing: shared' in the manifests of both"

    // MARK: Chosen devices

    private mutating func keep(_ count: Int, for process: ProcessManifest) {
        var replicas = Array(repeating: [String](), count: process.replicas)
        for index in replicas.indices {
            let given = self.facts.given["\(process.name.value)-\(index)"] ?? []
            guard given.count == count, self.used.isDisjoint(with: given),
                given.allSatisfy({ self.facts.taken[$0] == nil })
            else { continue }
            replicas[index] = given
            self.used.formUnion(given)
        }
        self.devices[process.name.value] = replicas
    }

    private mutating func choose(_ count: Int, for process: ProcessManifest, _ gpus: GPUManifest) {
        var replicas = self.devices[process.name.value] ?? []
        for index in replicas.indices where replicas[index].count < count {
            while replicas[index].count < count, let device = self.next(isFree: true) {
                replicas[index].append(device)
                self.used.insert(device)
            }
        }
        let missing = replicas.reduce(0) { $0 + count - $1.count }
        if missing > 0 {
            self.tooFew(missing, count * process.replicas, process, gpus)
            // To be shown, with the note that it cannot be started so.
            for index in replicas.indices {
                while replicas[index].count < count {
                    let device = self.next(isFree: false) ?? self.beyond()
                    replicas[index].append(device)
                    self.used.insert(device)
                }
            }
        }
        self.devices[process.name.value] = replicas
    }

    /// The first device that nobody of this deployment has been given; nil: there is none.
    private func next(isFree: Bool) -> String? {
        func fits(_ device: String) -> Bool {
            !self.used.contains(device) && (!isFree || self.facts.taken[device] == nil)
        }
        if let all = self.visible ?? self.facts.known { return all.first(where: fits) }
        return (0...).lazy.map { String($0) }.first(where: fits)
    }

    /// An index that the machine does not have.
    private func beyond() -> String {
        let first = (self.visible ?? self.facts.known ?? []).compactMap { Int($0) }.max().map { $0 + 1 } ?? 0
        return (first...).lazy.map { String($0) }.first { !self.used.contains($0) } ?? "0"
    }

    private mutating func tooFew(_ missing: Int, _ wanted: Int, _ process: ProcessManifest, _ gpus: GPUManifest) {
        let all = self.visible ?? self.facts.known ?? []
        var message =
            "process '\(process.name.value)' wants \(Self.count(wanted)), and \(missing) of them cannot be had: "
        message +=
            self.visible == nil
            ? "this machine has \(all.isEmpty ? "none" : "\(all.count)")"
            : "\(self.variable) of the caller has \(all.isEmpty ? "none" : "\(all.count)")"
        let own = all.filter(self.used.contains)
        if !own.isEmpty { message += ", \(own.joined(separator: ", ")) used by this deployment" }
        let held = all.filter { self.facts.taken[$0] != nil }
        for device in held { message += ", \(device) held by \(self.facts.taken[device] ?? "another")" }
        self.problems.append(
            Problem(
                location: gpus.location,
                message: message,
                remedy: held.isEmpty ? "lower 'gpus' or 'replicas', or name devices that processes share" : Self.remedy,
                isOfMachine: true
            )
        )
    }

    private static func count(_ number: Int) -> String { number == 1 ? "1 GPU" : "\(number) GPUs" }
}
