package import Deployment
internal import FoundationEssentials

/// The accelerators of this machine, as far as its tools tell.
package struct MachineDevices: Sendable, Hashable {
    /// One of them.
    package struct Device: Sendable, Hashable {
        package var index: String
        /// `GPU-...`, where the tool tells.
        package var identifier: String?
    }

    /// `cuda` or `xpu`.
    package var kind: String
    /// nil: not known.
    package var devices: [Device]?
    /// Why it is not known.
    package var note: String?

    package init(kind: String, devices: [Device]? = nil, note: String? = nil) {
        self.kind = kind
        self.devices = devices
        self.note = note
    }

    /// Looks at the machine.
    ///
    /// CUDA's are asked of `nvidia-smi`, or else counted in `/dev`; Intel's are asked of `xpu-smi`. Where none of them is, nothing is
    /// known.
    ///
    /// - Parameters:
    ///   - kind: `cuda` or `xpu`.
    ///   - environment: whose `PATH` has the tools.
    /// - Returns: what was found.
    package static func survey(_ kind: String, environment: [String: String]) async -> MachineDevices {
        kind == "xpu" ? await self.xpu(environment) : await self.cuda(environment)
    }

    private static func cuda(_ environment: [String: String]) async -> MachineDevices {
        let unknown = "which GPUs this machine has is not known"
        guard GPUTool.path(environment) != nil else {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: "/dev")) ?? []
            let numbers = names.compactMap { $0.hasPrefix("nvidia") ? Int($0.dropFirst("nvidia".count)) : nil }
            guard numbers.isEmpty else {
                return MachineDevices(kind: "cuda", devices: numbers.sorted().map { Device(index: String($0)) })
            }
            return MachineDevices(
                kind: "cuda",
                note: "\(unknown): there is no nvidia-smi on PATH and no /dev/nvidia0; 'gpus' is taken as it is"
            )
        }
        let result = await Self.run(["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"], environment)
        if let failure = result.failure {
            return MachineDevices(kind: "cuda", note: "\(unknown): nvidia-smi failed (\(failure))")
        }
        let devices = Self.devices(in: result.output)
        return MachineDevices(kind: "cuda", devices: devices)
    }

    /// Reads what `nvidia-smi --query-gpu=index,uuid --format=csv,noheader` says.
    static func devices(in text: String) -> [Device] {
        text.split(whereSeparator: \.isNewline).compactMap { line in
            let fields = line.split(separator: ",").map { String($0).trimmed }
            guard let first = fields.first, Int(first) != nil else { return nil }
            return Device(index: first, identifier: fields.count > 1 ? fields[1] : nil)
        }
    }

    private static func xpu(_ environment: [String: String]) async -> MachineDevices {
        let unknown = "which XPUs this machine has is not known"
        guard ProgramSearch.find("xpu-smi", path: environment["PATH"], directory: "/") != nil else {
            return MachineDevices(
                kind: "xpu",
                note: "\(unknown): there is no xpu-smi on PATH; 'gpus' is taken as it is"
            )
        }
        let result = await Self.run(["xpu-smi", "discovery", "--dump", "1"], environment)
        if let failure = result.failure {
            return MachineDevices(kind: "xpu", note: "\(unknown): xpu-smi failed (\(failure))")
        }
        return MachineDevices(kind: "xpu", devices: Self.devices(in: result.output))
    }

    private static func run(_ words: [String], _ environment: [String: String]) async -> SingleCommand.Result {
        await SingleCommand(words, environment: environment, directory: "/", timeout: 20).run()
    }

    /// Their names.
    package var known: KnownDevices {
        let identifiers = (self.devices ?? []).compactMap { device in device.identifier.map { (device.index, $0) } }
        return KnownDevices(
            indexes: self.devices?.map(\.index),
            identifiers: Dictionary(identifiers) { first, _ in first }
        )
    }

    /// What a device is leased as: its index, and its identifier where that is known, so that both ways to name it meet.
    package func names(of device: String) -> Set<String> {
        let known = self.known
        let index = known.canonical(device)
        guard Int(index) != nil else { return [device] }
        return Set(["\(self.kind):\(index)", known.identifiers[index]].compactMap(\.self))
    }

    /// Devices as manifests name them, each with who holds it so that this deployment cannot have it.
    ///
    /// - Parameters:
    ///   - holders: who holds devices.
    ///   - isShared: whether this deployment shares.
    ///   - written: the names that the manifest has beside indexes.
    /// - Returns: holders by device.
    package func taken(_ holders: [DeviceLeases.Holder], isShared: Bool, written: [String]) -> [String: String] {
        let excluding = holders.filter { $0.excludes(shared: isShared) }
        var taken: [String: String] = [:]
        // What is held is a device too where the machine's are not known: an index of this kind, or an identifier.
        let held = excluding.compactMap { holder -> String? in
            guard let colon = holder.device.firstIndex(of: ":") else { return holder.device }
            return holder.device[..<colon] == self.kind ? String(holder.device[colon...].dropFirst()) : nil
        }
        for device in (self.devices?.map(\.index) ?? []) + held + written {
            let names = self.names(of: device)
            if let holder = excluding.first(where: { names.contains($0.device) }) { taken[device] = holder.words }
        }
        return taken
    }
}
