import Discovery
import Tokenization

/// Turns the messages of a chat into the text that a model continues.
enum ChatPrompt {
    /// Writes the prompt.
    ///
    /// - Throws: when the model has no template that can be used, or the template refuses the messages.
    static func text(_ fields: JSONFields, _ model: TokenModel) throws(OpenAIError) -> String {
        guard let templates = model.templates else {
            throw .invalid(
                "The model `\(model.name)` serves completions only here: "
                    + (model.templateProblem ?? "it has no chat template"),
                param: "model",
                code: "model_not_supported"
            )
        }
        var messages: [JSONValue] = []
        for (index, message) in (fields["messages"]?.array ?? []).enumerated() {
            messages.append(try self.message(message, index, templates))
        }
        let tools = fields["tools"]?.array ?? []
        let offersTools = !tools.isEmpty && fields["tool_choice"] != "none"
        var variables = JSONFields()
        for name in ["chat_template_kwargs", "chat_template_args"] {
            for member in fields[name]?.object?.members ?? [] { variables[member.name] = member.value }
        }
        // As in Dynamo's frontend, a client's arguments do not replace these.
        variables["messages"] = .array(messages)
        variables["tools"] = offersTools ? .array(tools) : .null
        variables["documents"] = variables["documents"] ?? .null
        variables["add_generation_prompt"] = true
        variables["bos_token"] = .string(templates.startText ?? "")
        variables["eos_token"] = .string(templates.endText ?? "")
        do { return try (offersTools ? templates.tools : templates.plain).render(variables) } catch {
            throw .invalid(
                error.isRaised
                    ? "The model's chat template refuses the messages: \(error)"
                    : "The model's chat template cannot write these messages: \(error)",
                param: "messages"
            )
        }
    }

    private static func message(
        _ message: JSONValue,
        _ index: Int,
        _ templates: TokenModel.Templates
    ) throws(OpenAIError) -> JSONValue {
        guard var fields = message.object else { return message }
        switch fields["content"] {
        case .array(let parts)?:
            var texts: [String] = []
            for part in parts {
                guard part["type"]?.string == "text", let text = part["text"]?.string else {
                    throw .invalid(
                        "`messages[\(index)].content` has a part of type \(part["type"]?.text ?? "none"); "
                            + "this frontend takes text only",
                        param: "messages[\(index)].content"
                    )
                }
                texts.append(text)
            }
            if !templates.wantsParts { fields["content"] = .string(texts.joined(separator: "\n")) }
        case .string(let text)? where templates.wantsParts:
            fields["content"] = [["type": "text", "text": .string(text)]]
        default: break
        }
        // Clients send the arguments of a call as JSON in a string; templates look into them.
        if let calls = fields["tool_calls"]?.array {
            fields["tool_calls"] = .array(
                calls.map { call in
                    guard var whole = call.object, var function = whole["function"]?.object,
                        let text = function["arguments"]?.string, let arguments = try? JSONValue(parsing: text),
                        arguments.object != nil
                    else { return call }
                    function["arguments"] = arguments
                    whole["function"] = .object(function)
                    return .object(whole)
                }
            )
        }
        return .object(fields)
    }
}
