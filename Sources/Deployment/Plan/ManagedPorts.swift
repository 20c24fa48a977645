/// Ports that whoever starts the launcher has chosen.
///
/// With `DYN_MANAGED_PORTS` set, as Dynamo's launch scripts understand it, each port of these kinds must be in a variable of its own,
/// and what the manifest says of it does not count: `DYN_HTTP_PORT` for the public port, and for the workers, counted from 1 in the
/// order of the manifest, `DYN_SYSTEM_PORT1`, `DYN_SYSTEM_PORT2` and so on.
struct ManagedPorts {
    /// What asks for it; empty is the same as not set.
    static let variable = "DYN_MANAGED_PORTS"
    static let publicPort = "DYN_HTTP_PORT"
    /// What vLLM reads its port `nixl` from.
    static let sideChannel = "VLLM_NIXL_SIDE_CHANNEL_PORT"

    /// What a variable says.
    enum Value: Equatable {
        case port(Int)
        /// 0: the program may bind any, so the launcher chooses.
        case any
        /// Names the variable.
        case problem(Diagnostic)
    }

    private let environment: [String: String]
    /// Who has which port.
    private var owners: [Int: String] = [:]

    /// Nil when the ports are not managed.
    ///
    /// - Parameter environment: the caller's.
    init?(_ environment: [String: String]) {
        guard environment[Self.variable].map({ !$0.isEmpty }) ?? false else { return nil }
        self.environment = environment
    }

    /// The variable of a worker's port; nil: its name is not one of those that are managed.
    ///
    /// - Parameters:
    ///   - name: the manifest's name of the port.
    ///   - worker: which worker, from 1.
    /// - Returns: its name.
    static func variable(of name: String, worker: Int) -> String? {
        switch name {
        case "system": "DYN_SYSTEM_PORT\(worker)"
        case "kv": "DYN_VLLM_KV_EVENT_PORT\(worker)"
        case "nixl": "DYN_VLLM_NIXL_SIDE_CHANNEL_PORT\(worker)"
        default: nil
        }
    }

    /// Reads a variable.
    ///
    /// - Parameters:
    ///   - variable: its name.
    ///   - name: the manifest's name of the port.
    ///   - owner: whose port it is, in words.
    /// - Returns: what it says.
    mutating func value(_ variable: String, for name: String, of owner: String) -> Value {
        let limit = name == "system" ? PortRules.systemLimit : 65535
        let at = Location(file: variable)
        guard let text = self.environment[variable], !text.isEmpty else {
            return .problem(
                Diagnostic(
                    at: at,
                    "the variable is not set, and \(Self.variable) says that every port is given: this one is port '\(name)' of \(owner)",
                    remedy: "set it to a free port, or unset \(Self.variable)"
                )
            )
        }
        guard text.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int(text),
            (name == "system" ? 0 : 1)...limit ~= number
        else {
            let range = name == "system" ? "from 0 (any) to \(limit)" : "from 1 to \(limit)"
            return .problem(
                Diagnostic(
                    at: at,
                    "the variable is '\(Spelling.excerpt(text))', which is no port for '\(name)' of \(owner)",
                    remedy: "set it to a number \(range)"
                )
            )
        }
        if number == 0 { return .any }
        if let other = self.owners[number] {
            return .problem(
                Diagnostic(
                    at: at,
                    "port \(number) is given to \(owner) (\(name)) and to \(other)",
                    remedy: "give one of them another number"
                )
            )
        }
        self.owners[number] = "\(owner) (\(name)), by \(variable)"
        return .port(number)
    }

    /// Who was given a port, in words.
    func owner(of port: Int) -> String? { self.owners[port] }
}
