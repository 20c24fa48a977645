/// Which devices each replica gets.
struct GPUAllocation {
    /// By process and replica; a process that does not mention devices is missing.
    let devices: [String: [[String]]]

    init(_ processes: [ProcessManifest]) {
        var taken: Set<String> = []
        for process in processes {
            switch process.gpus?.selection {
            case .devices(let devices): taken.formUnion(devices)
            case .lists(let lists): taken.formUnion(lists.joined())
            case .count, nil: break
            }
        }
        var devices: [String: [[String]]] = [:]
        var next = 0
        for process in processes {
            guard let gpus = process.gpus else { continue }
            switch gpus.selection {
            case .devices(let all):
                let share = process.replicas > 0 ? all.count / process.replicas : 0
                devices[process.name.value] = (0..<process.replicas).map { Array(all[$0 * share..<($0 + 1) * share]) }
            case .lists(let lists):
                devices[process.name.value] = lists
            case .count(let count):
                devices[process.name.value] = (0..<process.replicas).map { _ in
                    (0..<count).map { _ in
                        while taken.contains(String(next)) { next += 1 }
                        defer { next += 1 }
                        return String(next)
                    }
                }
            }
        }
        self.devices = devices
    }
}
