import FoundationEssentials

/// Secrets that the service manager hands over as files (`LoadCredential=` of the unit).
enum Credentials {
    /// Larger files are no values of variables.
    private static let largest = 65_536

    /// The variables that credentials stand for: a file whose name is that of a variable is its value, without a last line end.
    ///
    /// - Parameter environment: `CREDENTIALS_DIRECTORY` in it names the folder; a variable that is set already stays.
    /// - Returns: what to add.
    static func variables(_ environment: [String: String]) -> [String: String] {
        guard let folder = environment["CREDENTIALS_DIRECTORY"],
            let names = try? FileManager.default.contentsOfDirectory(atPath: folder)
        else { return [:] }
        var result: [String: String] = [:]
        for name in names where environment[name] == nil && self.isVariable(name) {
            guard let data = FileManager.default.contents(atPath: "\(folder)/\(name)"), data.count <= self.largest,
                !data.contains(0)
            else { continue }
            let text = String(decoding: data, as: UTF8.self)
            result[name] = text.hasSuffix("\n") ? String(text.dropLast()) : text
        }
        return result
    }

    private static func isVariable(_ name: String) -> Bool {
        guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            return false
        }
        return name.utf8.allSatisfy { byte in
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || byte == UInt8(ascii: "_")
        }
    }
}
