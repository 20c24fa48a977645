/// Why a tokenizer or a chat template cannot be used here.
package struct TokenizationError: Error, Hashable, Sendable, CustomStringConvertible {
    package var description: String

    package init(_ description: String) { self.description = description }
}
