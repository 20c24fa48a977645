package import Discovery

/// A model's chat template: what turns the messages of a chat into the text that the model continues.
///
/// Templates are written in Jinja's language. This knows the part of it that chat templates are made of, set up as
/// `transformers` does; a template with anything else is refused when it is read, with the place. A tuple is a list here, also
/// when it is written.
package struct ChatTemplate: Hashable, Sendable {
    /// Why a template gave no text.
    package struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
        package var description: String
        /// Whether the template itself refused the messages.
        package var isRaised = false
    }

    private let nodes: [TemplateNode]

    /// Reads a template.
    ///
    /// - Throws: an error that names what is not supported, with line and column.
    package init(_ text: String) throws(TokenizationError) {
        var lexer = TemplateLexer(text)
        var parser = TemplateParser(try lexer.run())
        self.nodes = try parser.parse()
    }

    /// Writes a chat.
    ///
    /// - Parameter variables: what the template may use, such as `messages` and `add_generation_prompt`.
    /// - Returns: the text.
    /// - Throws: what the template raises, or what it does that cannot be done.
    package func render(_ variables: JSONFields) throws(Failure) -> String {
        var values: [String: TemplateValue] = [:]
        for member in variables.members { values[member.name] = TemplateValue(member.value) }
        var renderer = TemplateRenderer(values)
        return try renderer.render(self.nodes)
    }
}
