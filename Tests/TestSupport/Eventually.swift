/// A condition that did not come true in time.
package struct ConditionNotMet: Error, CustomStringConvertible {
    package let what: String
    package let limit: Duration
    package var description: String { "not true within \(self.limit): \(self.what)" }

    package init(what: String, limit: Duration) {
        self.what = what
        self.limit = limit
    }
}

/// Polls a condition until it holds.
///
/// - Parameters:
///   - limit: how long to wait.
///   - what: the condition in words, for the failure.
///   - condition: what must come true.
/// - Throws: `ConditionNotMet` after the limit, or what the condition throws.
package func eventually(
    within limit: Duration = .seconds(10),
    _ what: String,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while true {
        if try await condition() { return }
        guard ContinuousClock.now < deadline else { throw ConditionNotMet(what: what, limit: limit) }
        try await Task.sleep(for: .milliseconds(20))
    }
}
