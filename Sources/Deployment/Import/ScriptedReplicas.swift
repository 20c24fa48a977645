/// Processes of a script that are copies of one another, but for numbers that count up.
struct ScriptedReplicas: Sendable {
    var line: Int
    var invocation: DynamoInvocation
    var environment: [String: String]
    /// `ports.system`; nil: none was given.
    var system: String?
    var gpus: [String]?
    var unset: [String]
    var workingDirectory: String?
    var takesArguments: Bool
    var waitsFor: Int?
    /// The places of its processes in the script.
    var members: [Int]

    /// The whole of several as one entry with `{{index}}`; nil: they are not copies.
    static func merged(_ copies: [Self]) -> Self? {
        guard var result = copies.first, copies.count > 1 else { return copies.first }
        let others = copies.dropFirst()
        guard
            others.allSatisfy({ other in
                other.invocation.program == result.invocation.program
                    && other.invocation.python == result.invocation.python
                    && other.invocation.pythonOptions == result.invocation.pythonOptions
                    && other.invocation.arguments.count == result.invocation.arguments.count
                    && other.unset == result.unset && other.workingDirectory == result.workingDirectory
                    && other.takesArguments == result.takesArguments && other.waitsFor == result.waitsFor
                    && Set(other.environment.keys) == Set(result.environment.keys)
                    && (other.system == nil) == (result.system == nil)
                    && (other.gpus?.count ?? 0) == (result.gpus?.count ?? 0)
            }), result.gpus.map({ $0.count == 1 }) ?? true
        else { return nil }
        for index in result.invocation.arguments.indices {
            guard let text = Self.counted(copies.map { $0.invocation.arguments[index] }) else { return nil }
            result.invocation.arguments[index] = text
        }
        for name in result.environment.keys {
            guard let text = Self.counted(copies.map { $0.environment[name] ?? "" }) else { return nil }
            result.environment[name] = text
        }
        if result.system != nil {
            guard let text = Self.counted(copies.map { $0.system ?? "" }) else { return nil }
            // Two processes cannot have one port.
            guard text.contains("index") else { return nil }
            result.system = text
        }
        if result.gpus != nil { result.gpus = copies.flatMap { $0.gpus ?? [] } }
        result.members = copies.flatMap(\.members)
        return result
    }

    /// One text for several that differ in a number which counts up evenly.
    static func counted(_ texts: [String]) -> String? {
        guard let first = texts.first else { return nil }
        if texts.allSatisfy({ $0 == first }) { return first }
        let pieces = texts.map(Self.pieces)
        guard pieces.allSatisfy({ $0.count == pieces[0].count }) else { return nil }
        var result = ""
        for index in pieces[0].indices {
            let column = pieces.map { $0[index] }
            if column.allSatisfy({ $0 == column[0] }) {
                result += column[0]
                continue
            }
            let numbers = column.compactMap { $0.count <= 9 && ($0 == "0" || !$0.hasPrefix("0")) ? Int($0) : nil }
            guard numbers.count == column.count, !result.hasSuffix("."), !Self.isInside(result) else { return nil }
            let step = numbers[1] - numbers[0]
            guard numbers.enumerated().allSatisfy({ $0.element == numbers[0] + $0.offset * step }) else { return nil }
            let times = abs(step) == 1 ? "index" : "\(abs(step)) * index"
            result +=
                numbers[0] == 0 && step > 0 ? "{{\(times)}}" : "{{\(numbers[0]) \(step < 0 ? "-" : "+") \(times)}}"
        }
        return result
    }

    /// Within a variable or an expression nothing can be put.
    private static func isInside(_ text: String) -> Bool {
        let variables =
            text.split(separator: "${", omittingEmptySubsequences: false).count
            - text.split(separator: "}", omittingEmptySubsequences: false).count
        return variables > 0 && text.contains("${")
    }

    /// Runs of digits, and what is between them.
    private static func pieces(_ text: String) -> [String] {
        var pieces: [String] = []
        for character in text {
            let isDigit = character.isASCII && character.isNumber
            if let last = pieces.last?.last, (last.isASCII && last.isNumber) == isDigit {
                pieces[pieces.count - 1].append(character)
            } else {
                pieces.append(String(character))
            }
        }
        return pieces
    }
}
