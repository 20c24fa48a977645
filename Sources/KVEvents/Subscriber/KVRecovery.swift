package import KVRouter
package import RequestPlane

/// Asks workers for what was missed.
package struct KVRecovery: Sendable {
    private let client: any RequestPlaneClient
    private let form: DynamoEventForm
    /// The waits between attempts; the first one often comes before the worker can be reached.
    ///
    /// These are Dynamo's (contract `kv-events.md`, section 3).
    package static let pauses: [Duration] = (0..<7).map { .milliseconds(200 << $0) }

    package init(_ client: any RequestPlaneClient, form: DynamoEventForm) {
        self.client = client
        self.form = form
    }

    /// Asks once.
    ///
    /// - Parameters:
    ///   - worker: whose events.
    ///   - start: the first one that is missing; nil for everything that the worker holds.
    ///   - instance: the query endpoint of that worker and rank.
    /// - Returns: what the worker says, which may be an error of its own.
    /// - Throws: `RequestPlaneError` when it cannot be asked, or its answer cannot be read.
    package func recover(
        _ worker: WorkerRank,
        from start: UInt64?,
        at instance: Instance
    ) async throws(RequestPlaneError) -> KVQueryAnswer {
        let query = KVQuery(worker: worker.worker, start: start, rank: worker.rank)
        let id = "kv-recovery-\(instance.id)-\(UInt64.random(in: 0...UInt64.max))"
        let stream = try await self.client.send(OutgoingRequest(id: id, payload: query.body(self.form)), to: instance)
        do {
            var answer: KVQueryAnswer?
            for try await item in stream {
                switch item {
                case .bare(let body), .data(let body): if answer == nil { answer = try KVQueryAnswer(body) }
                case .annotation: continue
                case .failure(let error): throw RequestPlaneError(.remote, "\(instance.endpoint) failed: \(error)")
                }
            }
            guard let answer else {
                throw RequestPlaneError(.protocolViolation, "\(instance.endpoint) answered nothing")
            }
            return answer
        } catch let error as RequestPlaneError {
            throw error
        } catch let error as CancellationError {
            throw RequestPlaneError(.cancelled, "asking \(instance.endpoint) was cancelled", cause: error)
        } catch {
            throw RequestPlaneError(.protocolViolation, "\(instance.endpoint) gave no known answer", cause: error)
        }
    }

    /// Asks until there is an answer, at most eight times.
    ///
    /// - Parameters:
    ///   - worker: whose events.
    ///   - start: the first one that is missing; nil for everything that the worker holds.
    ///   - instance: the query endpoint of that worker and rank.
    /// - Returns: what the worker says, which may be an error of its own.
    /// - Throws: `RequestPlaneError` of the last attempt.
    package func recoverWithRetries(
        _ worker: WorkerRank,
        from start: UInt64?,
        at instance: Instance
    ) async throws(RequestPlaneError) -> KVQueryAnswer {
        for pause in Self.pauses {
            do throws(RequestPlaneError) {
                return try await self.recover(worker, from: start, at: instance)
            } catch {
                guard error.code != .cancelled, (try? await Task.sleep(for: pause)) != nil else { throw error }
            }
        }
        return try await self.recover(worker, from: start, at: instance)
    }
}
