/// An expression of a template.
indirect enum TemplateExpression: Hashable, Sendable {
    case constant(TemplateValue)
    case name(String)
    case list([TemplateExpression])
    case dictionary([Pair])
    case attribute(TemplateExpression, String)
    case item(TemplateExpression, TemplateExpression)
    case slice(TemplateExpression, TemplateExpression?, TemplateExpression?, TemplateExpression?)
    case call(TemplateExpression, Arguments)
    case filter(TemplateExpression, String, Arguments)
    case test(TemplateExpression, String, Arguments, isNegated: Bool)
    case not(TemplateExpression)
    case negative(TemplateExpression)
    case and(TemplateExpression, TemplateExpression)
    case or(TemplateExpression, TemplateExpression)
    case compare(TemplateExpression, [Comparison])
    case arithmetic(TemplateExpression, String, TemplateExpression)
    case conditional(TemplateExpression, then: TemplateExpression, otherwise: TemplateExpression?)

    struct Pair: Hashable, Sendable {
        var key: TemplateExpression
        var value: TemplateExpression
    }

    struct Comparison: Hashable, Sendable {
        var sign: String
        var value: TemplateExpression
    }

    struct Arguments: Hashable, Sendable {
        var positional: [TemplateExpression] = []
        var named: [Named] = []
    }

    struct Named: Hashable, Sendable {
        var name: String
        var value: TemplateExpression
    }
}

/// A part of a template.
indirect enum TemplateNode: Hashable, Sendable {
    case text(String)
    case output(TemplateExpression)
    case set(Target, TemplateExpression)
    /// The target takes what the body writes.
    case capture(Target, [TemplateNode])
    case conditional([Branch], otherwise: [TemplateNode])
    case loop(Loop)
    case macro(Macro)
    case stop
    case skip

    enum Target: Hashable, Sendable {
        case name(String)
        case names([String])
        /// A member of a namespace.
        case member(String, String)
    }

    struct Branch: Hashable, Sendable {
        var condition: TemplateExpression
        var body: [TemplateNode]
    }

    struct Loop: Hashable, Sendable {
        var target: Target
        var over: TemplateExpression
        var filter: TemplateExpression?
        var body: [TemplateNode]
        var otherwise: [TemplateNode]
    }

    struct Macro: Hashable, Sendable {
        var name: String
        var parameters: [Parameter]
        var body: [TemplateNode]
    }

    struct Parameter: Hashable, Sendable {
        var name: String
        var fallback: TemplateExpression?
    }
}
