/// Runs a template: its variables, and what it has written.
struct TemplateRenderer {
    typealias Failure = ChatTemplate.Failure

    /// Values of a call.
    struct Arguments {
        var positional: [TemplateValue] = []
        var named: [String: TemplateValue] = [:]

        /// The argument at a position, or by name.
        func value(_ index: Int, _ name: String) -> TemplateValue? {
            index < self.positional.count ? self.positional[index] : self.named[name]
        }
    }

    private enum Flow {
        case next
        case stop
        case skip
    }

    static let functions: Set<String> = ["namespace", "range", "dict", "raise_exception", "strftime_now"]

    private static let deepestCall = 32
    /// Bytes that a template may write.
    private static let longestOutput = 256 << 20
    /// As Jinja's sandbox limits it.
    private static let longestRange = 100_000

    /// The innermost last.
    private var scopes: [[String: TemplateValue]]
    private var namespaces: [TemplateDictionary] = []
    private var macros: [TemplateNode.Macro] = []
    private var calls = 0
    private var output = ""

    init(_ variables: [String: TemplateValue]) { self.scopes = [variables] }

    mutating func render(_ nodes: [TemplateNode]) throws(Failure) -> String {
        _ = try self.run(nodes)
        return self.output
    }

    // MARK: Statements

    private mutating func run(_ nodes: [TemplateNode]) throws(Failure) -> Flow {
        for node in nodes {
            let flow = try self.run(node)
            if flow != .next { return flow }
        }
        return .next
    }

    private mutating func run(_ node: TemplateNode) throws(Failure) -> Flow {
        switch node {
        case .text(let text): try self.write(text)
        case .output(let expression): try self.write(try self.evaluate(expression).text)
        case .set(let target, let expression): try self.assign(target, try self.evaluate(expression))
        case .capture(let target, let body):
            try self.assign(
                target,
                .string(try self.captured { (renderer) throws(Failure) in _ = try renderer.run(body) })
            )
        case .conditional(let branches, let otherwise):
            for branch in branches where try self.evaluate(branch.condition).isTrue { return try self.run(branch.body) }
            return try self.run(otherwise)
        case .loop(let loop): try self.run(loop)
        case .macro(let macro):
            self.macros.append(macro)
            self.set(macro.name, .macro(self.macros.count - 1))
        case .stop: return .stop
        case .skip: return .skip
        }
        return .next
    }

    private mutating func write(_ text: String) throws(Failure) {
        guard self.output.utf8.count + text.utf8.count <= Self.longestOutput else {
            throw Failure(description: "the chat template writes more than \(Self.longestOutput) bytes")
        }
        self.output += text
    }

    private mutating func captured(
        _ body: (inout TemplateRenderer) throws(Failure) -> Void
    ) throws(Failure) -> String {
        let before = self.output
        self.output = ""
        defer { self.output = before }
        try body(&self)
        return self.output
    }

    private mutating func set(_ name: String, _ value: TemplateValue) {
        self.scopes[self.scopes.count - 1][name] = value
    }

    private mutating func assign(_ target: TemplateNode.Target, _ value: TemplateValue) throws(Failure) {
        switch target {
        case .name(let name): self.set(name, value)
        case .names(let names):
            let elements = try self.elements(of: value)
            guard elements.count == names.count else {
                throw Failure(description: "\(elements.count) values cannot be set to \(names.count) names")
            }
            for (name, element) in zip(names, elements) { self.set(name, element) }
        case .member(let name, let member):
            guard case .namespace(let number) = self.value(of: name) else {
                throw Failure(description: "'\(name).\(member)' can be set only if '\(name)' is a namespace")
            }
            self.namespaces[number][member] = value
        }
    }

    private mutating func run(_ loop: TemplateNode.Loop) throws(Failure) {
        var elements = try self.elements(of: try self.evaluate(loop.over))
        self.scopes.append([:])
        defer { self.scopes.removeLast() }
        if let filter = loop.filter {
            var kept: [TemplateValue] = []
            for element in elements {
                try self.assign(loop.target, element)
                if try self.evaluate(filter).isTrue { kept.append(element) }
            }
            elements = kept
        }
        if elements.isEmpty {
            _ = try self.run(loop.otherwise)
            return
        }
        for (index, element) in elements.enumerated() {
            self.scopes[self.scopes.count - 1] = ["loop": Self.loopState(index, elements)]
            try self.assign(loop.target, element)
            if try self.run(loop.body) == .stop { break }
        }
    }

    private static func loopState(_ index: Int, _ elements: [TemplateValue]) -> TemplateValue {
        let count = elements.count
        return .dictionary(
            TemplateDictionary([
                ("index", .int(index + 1)), ("index0", .int(index)), ("first", .bool(index == 0)),
                ("last", .bool(index == count - 1)), ("length", .int(count)), ("revindex", .int(count - index)),
                ("revindex0", .int(count - index - 1)),
                ("previtem", index > 0 ? elements[index - 1] : .undefined("there is no previous item")),
                ("nextitem", index + 1 < count ? elements[index + 1] : .undefined("there is no next item")),
            ])
        )
    }

    /// What a loop goes through.
    func elements(of value: TemplateValue) throws(Failure) -> [TemplateValue] {
        switch value {
        case .undefined: return []
        case .list(let elements): return elements
        case .string(let text): return text.unicodeScalars.map { .string(String($0)) }
        case .dictionary(let dictionary): return dictionary.members.map { .string($0.key) }
        default: throw Failure(description: "\(value.kind) cannot be gone through")
        }
    }

    // MARK: Expressions

    private func value(of name: String) -> TemplateValue {
        for scope in self.scopes.reversed() { if let value = scope[name] { return value } }
        return .undefined(name)
    }

    mutating func evaluate(_ expression: TemplateExpression) throws(Failure) -> TemplateValue {
        switch expression {
        case .constant(let value): return value
        case .name(let name): return self.value(of: name)
        case .list(let elements):
            var values: [TemplateValue] = []
            for element in elements { values.append(try self.evaluate(element)) }
            return .list(values)
        case .dictionary(let pairs):
            var dictionary = TemplateDictionary()
            for pair in pairs {
                guard case .string(let key) = try self.evaluate(pair.key) else {
                    throw Failure(description: "the name of a mapping's member must be a string")
                }
                dictionary[key] = try self.evaluate(pair.value)
            }
            return .dictionary(dictionary)
        case .attribute(let base, let name): return try self.member(try self.evaluate(base), name, methodsFirst: true)
        case .item(let base, let index): return try self.item(try self.evaluate(base), try self.evaluate(index))
        case .slice(let base, let from, let to, let step):
            let value = try self.evaluate(base)
            return try Self.slice(value, try self.bound(from), try self.bound(to), try self.bound(step) ?? 1)
        case .call(let callee, let arguments): return try self.call(callee, try self.evaluate(arguments))
        case .filter(let base, let name, let arguments):
            return try self.filtered(try self.evaluate(base), name, try self.evaluate(arguments))
        case .test(let base, let name, let arguments, let isNegated):
            let holds = try self.test(try self.evaluate(base), name, try self.evaluate(arguments))
            return .bool(holds != isNegated)
        case .not(let value): return .bool(!(try self.evaluate(value).isTrue))
        case .negative(let value):
            switch try self.evaluate(value) {
            case .int(let number) where number != .min: return .int(-number)
            case .float(let number): return .float(-number)
            case let other: throw Failure(description: "\(other.kind) has no negative")
            }
        case .and(let left, let right):
            let value = try self.evaluate(left)
            return value.isTrue ? try self.evaluate(right) : value
        case .or(let left, let right):
            let value = try self.evaluate(left)
            return value.isTrue ? value : try self.evaluate(right)
        case .compare(let first, let comparisons):
            var left = try self.evaluate(first)
            for comparison in comparisons {
                let right = try self.evaluate(comparison.value)
                guard try self.compare(left, comparison.sign, right) else { return .bool(false) }
                left = right
            }
            return .bool(true)
        case .arithmetic(let left, let sign, let right):
            return try Self.arithmetic(try self.evaluate(left), sign, try self.evaluate(right))
        case .conditional(let condition, let then, let otherwise):
            if try self.evaluate(condition).isTrue { return try self.evaluate(then) }
            return try otherwise.map { (value) throws(Failure) in try self.evaluate(value) }
                ?? .undefined("the condition has no 'else'")
        }
    }

    private mutating func evaluate(_ arguments: TemplateExpression.Arguments) throws(Failure) -> Arguments {
        var values = Arguments()
        for argument in arguments.positional { values.positional.append(try self.evaluate(argument)) }
        for argument in arguments.named { values.named[argument.name] = try self.evaluate(argument.value) }
        return values
    }

    private mutating func bound(_ expression: TemplateExpression?) throws(Failure) -> Int? {
        guard let expression else { return nil }
        let value = try self.evaluate(expression)
        if value == .none { return nil }
        guard let number = value.integer else { throw Failure(description: "\(value.kind) is no bound of a slice") }
        return number
    }

    /// A member by name; Jinja looks at an object's methods first for `a.b`, and at its members first for `a['b']`.
    private func member(
        _ value: TemplateValue,
        _ name: String,
        methodsFirst: Bool
    ) throws(Failure) -> TemplateValue {
        switch value {
        case .undefined(let base): throw Failure(description: "'\(base)' is undefined, so it has no '\(name)'")
        case .dictionary(let dictionary):
            if methodsFirst, Self.dictionaryMethods.contains(name) { return .method(name) }
            return dictionary[name] ?? (Self.dictionaryMethods.contains(name) ? .method(name) : .undefined(name))
        case .namespace(let number): return self.namespaces[number][name] ?? .undefined(name)
        case .string: return Self.stringMethods.contains(name) ? .method(name) : .undefined(name)
        default: return .undefined(name)
        }
    }

    func item(_ value: TemplateValue, _ index: TemplateValue) throws(Failure) -> TemplateValue {
        if case .string(let name) = index { return try self.member(value, name, methodsFirst: false) }
        guard let number = index.integer else {
            if case .undefined(let base) = value {
                throw Failure(description: "'\(base)' is undefined, so it has no members")
            }
            return .undefined(index.text)
        }
        func element<Element>(_ elements: [Element]) -> Element? {
            let place = number < 0 ? number + elements.count : number
            return elements.indices.contains(place) ? elements[place] : nil
        }
        switch value {
        case .undefined(let base): throw Failure(description: "'\(base)' is undefined, so it has no members")
        case .list(let elements): return element(elements) ?? .undefined("element \(number)")
        case .string(let text):
            return element(Array(text.unicodeScalars)).map { .string(String($0)) } ?? .undefined("character \(number)")
        default: return .undefined("element \(number)")
        }
    }

    // MARK: Calls

    private mutating func call(
        _ callee: TemplateExpression,
        _ arguments: Arguments
    ) throws(Failure) -> TemplateValue {
        switch callee {
        case .attribute(let base, let name), .item(let base, .constant(.string(let name))):
            let value = try self.evaluate(base)
            if case .undefined(let base) = value {
                throw Failure(description: "'\(base)' is undefined, so it has no method '\(name)'")
            }
            return try self.method(value, name, arguments)
        case .name(let name):
            if case .macro(let number) = self.value(of: name) { return try self.run(self.macros[number], arguments) }
            return try self.function(name, arguments)
        default: throw Failure(description: "something without a name was called")
        }
    }

    private mutating func run(_ macro: TemplateNode.Macro, _ arguments: Arguments) throws(Failure) -> TemplateValue {
        guard self.calls < Self.deepestCall else {
            throw Failure(description: "the macro '\(macro.name)' calls itself too often")
        }
        guard arguments.positional.count <= macro.parameters.count else {
            throw Failure(description: "the macro '\(macro.name)' takes \(macro.parameters.count) arguments at most")
        }
        self.calls += 1
        let outer = self.scopes
        self.scopes = [outer[0], [:]]
        defer {
            self.scopes = outer
            self.calls -= 1
        }
        for (index, parameter) in macro.parameters.enumerated() {
            var value = arguments.value(index, parameter.name)
            if value == nil, let fallback = parameter.fallback { value = try self.evaluate(fallback) }
            self.set(parameter.name, value ?? .undefined(parameter.name))
        }
        return .string(try self.captured { (renderer) throws(Failure) in _ = try renderer.run(macro.body) })
    }

    private mutating func function(_ name: String, _ arguments: Arguments) throws(Failure) -> TemplateValue {
        switch name {
        case "namespace", "dict":
            var members = TemplateDictionary()
            if case .dictionary(let dictionary)? = arguments.positional.first { members = dictionary }
            for (key, value) in arguments.named.sorted(by: { $0.key < $1.key }) { members[key] = value }
            if name == "dict" { return .dictionary(members) }
            self.namespaces.append(members)
            return .namespace(self.namespaces.count - 1)
        case "range":
            let numbers = arguments.positional.compactMap(\.integer)
            let step = numbers.count == 3 ? numbers[2] : 1
            guard numbers.count == arguments.positional.count, (1...3).contains(numbers.count), step != 0 else {
                throw Failure(description: "range takes one to three whole numbers")
            }
            let (from, to) = numbers.count == 1 ? (0, numbers[0]) : (numbers[0], numbers[1])
            var list: [TemplateValue] = []
            for number in stride(from: from, to: to, by: step) {
                guard list.count < Self.longestRange else { throw Failure(description: "a range is too long") }
                list.append(.int(number))
            }
            return .list(list)
        case "raise_exception":
            throw Failure(description: arguments.positional.first?.text ?? "", isRaised: true)
        case "strftime_now": return .string(TemplateClock.now(arguments.positional.first?.text ?? ""))
        default: throw Failure(description: "'\(name)' is undefined, so it cannot be called")
        }
    }
}
