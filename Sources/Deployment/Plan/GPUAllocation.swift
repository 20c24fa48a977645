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
    /// Devices that the manifest names, and those that were given out, by their canonical names.
    private var used: Set<String> = []
    /// Of another generation, by the same names.
    private let avoided: Set<String>

    init(_ processes: [ProcessManifest], device: Device, environment: [String: String], facts: DeviceFacts) {
        self.facts = facts
        self.avoided = Set(facts.inUse.map(facts.known.canonical))
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
            self.checkNames(of: process, gpus)
        }
        self.used.formUnion(self.devices.values.joined().joined().map(facts.known.canonical))
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
            self.checkExistence(of: name, process, gpus)
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
        self.checkExistence(of: name, process, gpus)
        self.checkHolder(of: name, process, gpus)
        return name
    }

    private mutating func checkExistence(of name: String, _ process: ProcessManifest, _ gpus: GPUManifest) {
        guard self.facts.known.lacks(name) else { return }
        let indexes = self.facts.known.indexes ?? []
        // Those of the kind that was written.
        let there = Int(name) != nil ? indexes : indexes.compactMap { self.facts.known.identifiers[$0] }
        self.problems.append(
            Problem(
                location: gpus.location,
                message:
                    "process '\(process.name.value)' wants GPU \(name), and this machine has "
                    + (there.isEmpty ? "none" : "\(Self.count(there.count)) (\(there.joined(separator: ", ")))"),
                remedy: "change 'gpus'",
                isOfMachine: true
            )
        )
    }

    /// A replica cannot have a device twice, once by its index and once by its identifier; the decoder has seen to equal names.
    private mutating func checkNames(of process: ProcessManifest, _ gpus: GPUManifest) {
        for list in self.devices[process.name.value] ?? [] {
            var seen: [String: String] = [:]
            for name in list {
                guard let other = seen.updateValue(name, forKey: self.facts.known.canonical(name)) else { continue }
                self.problems.append(
                    Problem(
                        location: gpus.location,
                        message: "process '\(process.name.value)' names one GPU twice: \(other) is \(name)",
                        remedy: "keep one of the two",
                        isOfMachine: true
                    )
                )
            }
        }
    }

    private mutating func checkHolder(of name: String, _ process: ProcessManifest, _ gpus: GPUManifest) {
        guard let holder = self.holder(of: name) else { return }
        self.problems.append(
            Problem(
                location: gpus.location,
                message: "GPU \(name) of process '\(process.name.value)' is held by \(holder)",
                remedy: Self.remedy,
                isOfMachine: true
            )
        )
    }

    /// Who else has it.
    private func holder(of name: String) -> String? {
        self.facts.taken[name] ?? self.facts.taken[self.facts.known.canonical(name)]
    }

    private static let remedy =
        "stop that deployment, give other devices under 'gpus', or write 'gpuSharing: shared' in the manifests of both"

    // MARK: Chosen devices

    private mutating func keep(_ count: Int, for process: ProcessManifest) {
        var replicas = Array(repeating: [String](), count: process.replicas)
        for index in replicas.indices {
            let given = self.facts.given["\(process.name.value)-\(index)"] ?? []
            let names = given.map(self.facts.known.canonical)
            guard given.count == count, self.used.isDisjoint(with: names),
                given.allSatisfy({ self.holder(of: $0) == nil })
            else { continue }
            replicas[index] = given
            self.used.formUnion(names)
        }
        self.devices[process.name.value] = replicas
    }

    private mutating func choose(_ count: Int, for process: ProcessManifest, _ gpus: GPUManifest) {
        var replicas = self.devices[process.name.value] ?? []
        for index in replicas.indices where replicas[index].count < count {
            while replicas[index].count < count, let device = self.next(isFree: true) {
                replicas[index].append(device)
                self.used.insert(self.facts.known.canonical(device))
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
                    self.used.insert(self.facts.known.canonical(device))
                }
            }
        }
        self.devices[process.name.value] = replicas
    }

    /// The first device that nobody of this deployment has been given; nil: there is none.
    private func next(isFree: Bool) -> String? {
        func fits(_ device: String) -> Bool {
            !self.used.contains(self.facts.known.canonical(device)) && (!isFree || self.holder(of: device) == nil)
        }
        func isApart(_ device: String) -> Bool { !self.avoided.contains(self.facts.known.canonical(device)) }
        if let all = self.visible ?? self.facts.known.indexes {
            return all.first { fits($0) && isApart($0) } ?? all.first(where: fits)
        }
        // Whether there are others is not known: the migration says that both want this one.
        return (0...).lazy.map { String($0) }.first(where: fits)
    }

    /// An index that the machine does not have.
    private func beyond() -> String {
        let first = (self.visible ?? self.facts.known.indexes ?? []).compactMap { Int($0) }.max().map { $0 + 1 } ?? 0
        return (first...).lazy.map { String($0) }.first { !self.used.contains($0) } ?? "0"
    }

    private mutating func tooFew(_ missing: Int, _ wanted: Int, _ process: ProcessManifest, _ gpus: GPUManifest) {
        let all = self.visible ?? self.facts.known.indexes ?? []
        var message =
            "process '\(process.name.value)' wants \(Self.count(wanted)), and \(missing) of them cannot be had: "
        message +=
            self.visible == nil
            ? "this machine has \(all.isEmpty ? "none" : "\(all.count)")"
            : "\(self.variable) of the caller has \(all.isEmpty ? "none" : "\(all.count)")"
        let own = all.filter { self.used.contains(self.facts.known.canonical($0)) }
        if !own.isEmpty { message += ", \(own.joined(separator: ", ")) used by this deployment" }
        let held = all.filter { self.holder(of: $0) != nil }
        for device in held { message += ", \(device) held by \(self.holder(of: device) ?? "another")" }
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
