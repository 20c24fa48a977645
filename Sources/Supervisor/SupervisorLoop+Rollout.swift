internal import Deployment

/// Somebody who wants processes to be started anew.
struct RestartRequest: Sendable {
    /// Processes or replicas, as they were asked for.
    var names: [String]
    var reply: @Sendable (Result<AsyncStream<RolloutProgress>, RolloutRefusal>) -> Void
}

/// Why a change of what runs was not begun.
package struct RolloutRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Cause: Sendable, Hashable {
        case unknownProcess
        /// Something else has to end first.
        case conflict
    }

    package var cause: Cause
    package var description: String

    static let underWay = Self(
        cause: .conflict,
        description:
            "another restart is under way; ask again when it is done ('dynamo-launch status' shows the processes)"
    )
    static let stopping = Self(cause: .conflict, description: "the deployment is being stopped")
}

/// Changing what runs while it serves.
extension SupervisorLoop {
    func restart(_ request: RestartRequest, in group: inout DiscardingTaskGroup) {
        let replicas: [Int]
        do throws(RolloutRefusal) { replicas = try self.replicas(named: request.names) } catch {
            return request.reply(.failure(error))
        }
        if self.rolloutWatcher != nil {
            return request.reply(.failure(.underWay))
        }
        if self.machine.isStopping { return request.reply(.failure(.stopping)) }
        let (progress, watcher) = AsyncStream.makeStream(of: RolloutProgress.self)
        self.rolloutWatcher = watcher
        request.reply(.success(progress))
        self.feed(.rolloutRequested(Rollout(replicas.map { .replace($0) })), in: &group)
    }

    /// In start order, each once.
    private func replicas(named names: [String]) throws(RolloutRefusal) -> [Int] {
        let known = self.plan.replicas
        for name in names where !known.contains(where: { $0.process == name || $0.name == name }) {
            throw RolloutRefusal(
                cause: .unknownProcess,
                description: UnknownProcess.words(name, among: known.flatMap { [$0.process, $0.name] })
            )
        }
        return known.indices.filter { names.contains(known[$0].process) || names.contains(known[$0].name) }
    }

    func release(_ index: Int, in group: inout DiscardingTaskGroup) {
        let (sender, port, name) = (self.sender, self.publicPort, self.plan.replicas[index].name)
        group.addTask {
            await port?.release(name)
            sender.yield(.released(replica: index))
        }
    }

    func closePublicPort(in group: inout DiscardingTaskGroup) {
        let (sender, port) = (self.sender, self.publicPort)
        group.addTask {
            await port?.close()
            sender.yield(.publicPortClosed)
        }
    }

    func progress(_ index: Int, _ phase: RolloutProgress.Phase) {
        self.rolloutWatcher?.yield(RolloutProgress(replica: self.plan.replicas[index].name, phase))
    }

    func rolloutEnded(_ reason: String?) {
        self.rolloutWatcher?.yield(RolloutProgress(reason == nil ? .done : .failed, reason: reason))
        self.rolloutWatcher?.finish()
        self.rolloutWatcher = nil
    }
}

/// Words for a process that is not there.
enum UnknownProcess {
    static func words(_ name: String, among known: [String]) -> String {
        let hint = Spelling.nearest(to: name, among: known).map { "; did you mean '\($0)'?" }
        return "there is no process '\(name)'"
            + (hint ?? "; there are: \(Set(known).sorted().joined(separator: ", "))")
    }
}
