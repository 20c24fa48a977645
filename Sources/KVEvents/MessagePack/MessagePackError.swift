/// Why bytes are not the MessagePack that was expected.
package struct MessagePackError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong.
    package var message: String
    /// Bytes from the beginning of the value to the place.
    package var offset: Int

    package init(_ message: String, at offset: Int) {
        self.message = message
        self.offset = offset
    }

    package var description: String { "MessagePack at byte \(self.offset): \(self.message)" }
}
