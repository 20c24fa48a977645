import Supervisor

/// Says who holds the end of a deployment up, while it is waited for.
enum StopWatch {
    /// Most deployments have ended by then.
    private static let patience = Duration.seconds(3)
    private static let pause = Duration.seconds(5)

    /// Waits for the end, and now and then says what it waits for, on standard error.
    ///
    /// - Parameters:
    ///   - client: asks the launcher.
    ///   - end: returns with the end.
    /// - Returns: what `end` returns.
    /// - Throws: what `end` throws.
    static func sayingWhoHolds<Value: Sendable>(
        _ client: ControlClient,
        _ end: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { try await end() }
            group.addTask {
                try? await Task.sleep(for: self.patience)
                while !Task.isCancelled {
                    // One that ends in this moment does not answer any more.
                    if let status = try? await client.status() {
                        for line in self.words(status) { Terminal.printError(line) }
                    }
                    try? await Task.sleep(for: self.pause)
                }
                return nil
            }
            defer { group.cancelAll() }
            while let value = try await group.next() {
                if let value { return value }
            }
            throw CancellationError()
        }
    }

    /// What is waited for.
    static func words(_ status: DeploymentStatus) -> [String] {
        let held = status.replicas.filter { $0.state == .stopping }.compactMap { replica in
            replica.pid.map {
                "waiting for \(replica.name) (pid \($0)): \(replica.waitingFor ?? "the end of what it has started")"
            }
        }
        guard held.isEmpty, let gateway = status.gateway, gateway.inFlight > 0 else { return held }
        return ["waiting for \(gateway.inFlight) \(gateway.inFlight == 1 ? "request" : "requests") to be answered"]
    }
}
