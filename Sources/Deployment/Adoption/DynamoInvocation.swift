/// A command line that starts a frontend, a router or a worker.
struct DynamoInvocation: Sendable, Hashable {
    enum Program: Sendable, Hashable {
        case module(String)
        case builtin(ProcessManifest.Builtin)
    }

    var program: Program
    var role: Role
    /// `frontend`, `router`, `vllm`, `mocker`, ...
    var component: String
    /// As it was called; nil for our own programs.
    var python: String?
    /// What stands between the interpreter and `-m`.
    var pythonOptions: [String] = []
    /// What stands after the module or the program.
    var arguments: [String]

    /// Reads a command line.
    ///
    /// Nil when it starts something else.
    ///
    /// - Parameter words: argv.
    init?(_ words: [String]) {
        guard let first = words.first else { return nil }
        let name = first.split(separator: "/").last.map(String.init) ?? first
        if let builtin = ProcessManifest.Builtin.allCases.first(where: { $0.program == name }) {
            self.program = .builtin(builtin)
            self.role = builtin.role
            self.component = builtin.rawValue
            self.arguments = Array(words.dropFirst())
            return
        }
        guard name.hasPrefix("python"), let (options, module, rest) = Self.module(in: words.dropFirst()),
            let role = DynamoModules.role(of: module)
        else { return nil }
        self.program = .module(module)
        self.role = role
        self.component = DynamoModules.component(of: module)
        self.python = first
        self.pythonOptions = options
        self.arguments = rest
    }

    /// The interpreter's own options, the module of `-m`, and what follows.
    private static func module(
        in words: ArraySlice<String>
    ) -> (options: [String], module: String, arguments: [String])? {
        var options: [String] = []
        var index = words.startIndex
        while index < words.endIndex {
            let word = words[index]
            guard word.hasPrefix("-"), word != "-", word != "-c" else { return nil }
            if word.hasPrefix("-"), !word.hasPrefix("--"), word.hasSuffix("m") {
                // `-um` is `-u -m`.
                if word.count > 2 { options.append(String(word.dropLast())) }
                guard index + 1 < words.endIndex else { return nil }
                return (options, words[index + 1], Array(words[(index + 2)...]))
            }
            options.append(word)
            if word == "-X" || word == "-W" || word == "--check-hash-based-pycs", index + 1 < words.endIndex {
                index += 1
                options.append(words[index])
            }
            index += 1
        }
        return nil
    }

    /// The value of a flag, `--flag value` or `--flag=value`; the last one counts.
    func value(of flag: String) -> String? {
        var found: String?
        for (index, word) in self.arguments.enumerated() {
            if word == flag, index + 1 < self.arguments.count {
                found = self.arguments[index + 1]
            } else if word.hasPrefix("\(flag)=") {
                found = String(word.dropFirst(flag.count + 1))
            }
        }
        return found
    }

    /// `prefill` and `decode` where workers are one or the other, else the role.
    var baseName: String {
        let mode = self.value(of: "--disaggregation-mode")
        if let mode, ["prefill", "decode"].contains(mode) { return mode }
        if self.arguments.contains("--is-prefill-worker") { return "prefill" }
        if self.arguments.contains("--is-decode-worker") { return "decode" }
        return self.role.rawValue
    }

    /// The arguments without some flags and their values.
    static func removing(_ flags: Set<String>, from words: [String]) -> [String] {
        var result: [String] = []
        var index = 0
        while index < words.count {
            let word = words[index]
            index += 1
            if flags.contains(word) {
                index += 1
            } else if let equals = word.firstIndex(of: "="), flags.contains(String(word[..<equals])) {
                continue
            } else {
                result.append(word)
            }
        }
        return result
    }
}
