internal import Deployment

extension MigrationRequest {
    /// What a request says, as JSON keys or as flags.
    package enum Field: String, Sendable, Hashable, CaseIterable {
        case requestPlane, manifest, set, strategy, steps, observe, rollbackWindow, confirm
    }

    /// Longest time that may be asked for, in seconds.
    package static let longestTime = 7 * 86_400.0

    /// What is wrong with it.
    ///
    /// - Parameter name: what a field is called where the request was written.
    /// - Returns: one sentence; nil when nothing is wrong that can be told without the manifest.
    package func trouble(calling name: (Field) -> String) -> String? {
        if let plane = self.requestPlane, PlaneSet.Request(rawValue: plane) == nil {
            return Self.unknown(name(.requestPlane), plane, among: PlaneSet.Request.allCases.map(\.rawValue))
        }
        if let path = self.manifest, !path.hasPrefix("/") {
            return "\(name(.manifest)) takes an absolute path, not '\(path)'"
        }
        for text in self.set {
            guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
                return "\(name(.set)) takes KEY=VALUE, such as planes.request=nats, not '\(text)'"
            }
        }
        if self.requestPlane == nil, self.manifest == nil, self.set.isEmpty {
            return "nothing is to be changed: give \(name(.requestPlane)), \(name(.manifest)) or \(name(.set))"
        }
        if let steps = self.steps, !Self.areSteps(steps) {
            return "\(name(.steps)) takes rising percentages from 1 to 100, of which the last one is 100, "
                + "not \(steps.map(String.init).joined(separator: ","))"
        }
        for (field, value) in [(Field.observe, self.observe), (.rollbackWindow, self.rollbackWindow)] {
            guard let value, !(value >= 0 && value <= Self.longestTime) else { continue }
            return "\(name(field)) takes seconds, from 0 to \(Int(Self.longestTime))"
        }
        return nil
    }

    /// The words for a value that is none of those that there are.
    package static func unknown(_ name: String, _ value: String, among words: [String]) -> String {
        let quoted = words.map { "'\($0)'" }
        let list = quoted.dropLast().joined(separator: ", ") + " or " + (quoted.last ?? "")
        let hint = Spelling.nearest(to: value, among: words).map { "; did you mean '\($0)'?" } ?? ""
        return "\(name) can be \(list), not '\(value)'\(hint)"
    }

    private static func areSteps(_ steps: [Int]) -> Bool {
        steps.last == 100 && steps.allSatisfy { (1...100).contains($0) }
            && zip(steps, steps.dropFirst()).allSatisfy { $0 < $1 }
    }
}
