/// The text of a manifest and the name that messages use for it.
package struct ManifestSource: Sendable, Hashable {
    /// The largest manifest that is read, in bytes.
    package static let sizeLimit = 256 << 10

    /// As it is shown in messages.
    package var path: String
    package var text: String

    package init(path: String, text: String) {
        self.path = path
        self.text = text
    }

    /// A manifest from the bytes of a file.
    ///
    /// - Parameters:
    ///   - path: As it is shown in messages.
    ///   - bytes: What is in the file.
    /// - Throws: `ManifestErrors` when the file is too large or not UTF-8.
    package init(path: String, bytes: [UInt8]) throws(ManifestErrors) {
        guard bytes.count <= Self.sizeLimit else { throw Self.tooLarge(path: path, bytes: bytes.count) }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            let location = Self.firstInvalidByte(bytes, path: path)
            throw ManifestErrors([
                Diagnostic(
                    at: location,
                    "the file is not UTF-8 text",
                    remedy: "save it as UTF-8 (without other encodings or binary data)"
                )
            ])
        }
        self.init(path: path, text: text)
    }

    static func tooLarge(path: String, bytes: Int) -> ManifestErrors {
        ManifestErrors([
            Diagnostic(
                at: Location(file: path, line: 1, column: 1),
                "the manifest is \(bytes) bytes long; at most \(Self.sizeLimit) are read",
                remedy: "give the manifest's own path, not that of a model or a log"
            )
        ])
    }

    private static func firstInvalidByte(_ bytes: [UInt8], path: String) -> Location {
        var location = Location(file: path, line: 1, column: 1)
        var decoder = UTF8()
        var iterator = bytes.makeIterator()
        while true {
            switch decoder.decode(&iterator) {
            case .scalarValue("\n"):
                location.line += 1
                location.column = 1
            case .scalarValue:
                location.column += 1
            case .emptyInput, .error:
                return location
            }
        }
    }
}

/// What the command line says against the manifest.
package struct ManifestOverrides: Sendable, Hashable {
    /// From `--tcp`, `--http` or `--nats`.
    package var requestPlane: String?
    /// From `--set`: `key=value`, the key dotted, the value YAML.
    package var set: [String]

    package init(requestPlane: String? = nil, set: [String] = []) {
        self.requestPlane = requestPlane
        self.set = set
    }
}
