import Deployment
import Supervisor

/// What /proc does not tell of a process.
enum ProcessQuestions {
    /// Finds their releases, and asks the system servers of workers whether they are ready, as a launcher would.
    static func ask(_ processes: [FoundProcess]) async -> [FoundProcess] {
        await self.withComplaints(await self.withReleases(processes))
    }

    private static func withReleases(_ processes: [FoundProcess]) async -> [FoundProcess] {
        var releases: [String: DynamoRelease?] = [:]
        for python in Set(processes.compactMap(\.python)) {
            releases[python] = try? await ReleaseDetector.detect(python: python).get()
        }
        return processes.map { process in
            var process = process
            process.release = process.python.flatMap { releases[$0] ?? nil }
            return process
        }
    }

    private static func withComplaints(_ processes: [FoundProcess]) async -> [FoundProcess] {
        await withTaskGroup(of: (Int, String?).self) { group in
            for (index, process) in processes.enumerated() {
                guard let port = process.systemPort, process.role == .worker else { continue }
                group.addTask { (index, await Self.complaint(systemPort: port)) }
            }
            return await group.reduce(into: processes) { $0[$1.0].complaint = $1.1 }
        }
    }

    private static func complaint(systemPort port: Int) async -> String? {
        do {
            let request = try HTTPRequest(url: "http://127.0.0.1:\(port)/health")
            let answer = try await HTTPClient.send(request, timeout: .seconds(3))
            guard case .failure(let reason) = SystemHealth.judge(answer) else { return nil }
            return "'\(reason)' when it is asked for /health"
        } catch {
            return "nothing when it is asked for /health (\(error))"
        }
    }
}
