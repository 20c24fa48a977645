import RequestPlane

/// One rule that every transport of the request plane must keep.
///
/// ```swift
/// @Test(arguments: ConformanceCheck.all) func conforms(_ check: ConformanceCheck) async throws {
///     try await check.run(on: MyTransport())
/// }
/// ```
package struct ConformanceCheck: Sendable, CustomStringConvertible {
    package let description: String
    /// What the transport is asked for, also for those who prepare something beside it.
    package let options: ConformanceOptions
    private let body: @Sendable (any ConformanceTransport) async throws -> Void

    init(
        _ description: String,
        _ options: ConformanceOptions = ConformanceOptions(),
        _ body: @escaping @Sendable (any ConformanceTransport) async throws -> Void
    ) {
        self.description = description
        self.options = options
        self.body = body
    }

    /// A check whose body gets a running server and client.
    init(
        _ description: String,
        _ options: ConformanceOptions = ConformanceOptions(),
        startServer: Bool = true,
        with body: @escaping @Sendable (ConformancePair) async throws -> Void
    ) {
        self.init(description, options) { transport in
            try await ConformancePair.run(on: transport, options, startServer: startServer, body)
        }
    }

    /// Runs the check.
    ///
    /// - Parameter transport: what is under test.
    /// - Throws: `ConformanceViolation` when the transport breaks the rule, or an error that it should not have thrown.
    package func run(on transport: any ConformanceTransport) async throws { try await self.body(transport) }

    /// What every transport must do.
    package static var all: [ConformanceCheck] {
        self.delivery + self.endpoints + self.callerCancels + self.serverGivesUp + self.flow + self.load
    }

    /// What transports between processes must do beside it.
    package static var betweenProcesses: [ConformanceCheck] { self.vanishing + self.sizeLimits }
}

/// A transport broke a rule.
package struct ConformanceViolation: Error, CustomStringConvertible {
    package let description: String
}

/// Fails the check unless the condition holds.
func require(_ condition: Bool, _ violation: @autoclosure () -> String) throws(ConformanceViolation) {
    guard condition else { throw ConformanceViolation(description: violation()) }
}

/// Fails the check unless two values are equal.
func requireEqual<Value: Equatable>(
    _ found: Value,
    _ expected: Value,
    _ what: String
) throws(ConformanceViolation) {
    guard found == expected else {
        throw ConformanceViolation(description: "\(what): expected \(expected), found \(found)")
    }
}

/// Fails the check unless the body throws a `RequestPlaneError` of one of these codes.
@discardableResult
func requireError(
    _ codes: RequestPlaneError.Code...,
    from what: String,
    _ body: () async throws -> Void
) async throws -> RequestPlaneError {
    do { try await body() } catch let error as RequestPlaneError {
        guard codes.contains(error.code) else {
            let names = codes.map(\.rawValue).joined(separator: " or ")
            throw ConformanceViolation(description: "\(what): expected \(names), found \(error)")
        }
        return error
    }
    throw ConformanceViolation(description: "\(what): nothing was thrown")
}
