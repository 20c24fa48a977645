/// Names that nobody else uses: 22 letters and digits, as NATS' clients make them.
package enum UniqueName {
    private static let alphabet = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

    package static func make() -> String { String((0..<22).compactMap { _ in Self.alphabet.randomElement() }) }
}
