import Foundation
import Logging
import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// Ten thousand answers at once between two processes.
@Suite struct ManyStreamsTests {
    private static let count = 10_000

    /// A process may open too few files for this test.
    private struct TooFewDescriptors: Error, CustomStringConvertible {
        let limit: Int
        var description: String {
            "ten thousand streams need as many open files and a few more, and the hard limit is \(self.limit): raise it (ulimit -Hn)"
        }
    }

    /// Raises the soft limit, which children inherit.
    private func raiseLimit() throws {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        guard limit.rlim_max >= Self.count + 500 else { throw TooFewDescriptors(limit: Int(limit.rlim_max)) }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    private func entries(_ path: String) -> Int {
        (try? FileManager.default.contentsOfDirectory(atPath: path).count) ?? 0
    }

    private func residentMegabytes(_ pid: String) -> Int {
        let text = (try? String(contentsOfFile: "/proc/\(pid)/statm", encoding: .utf8)) ?? ""
        return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * Int(getpagesize()) / 1_048_576
    }

    @Test func tenThousandAtOnce() async throws {
        try self.raiseLimit()
        let interop = RequestPlaneInteropTests()
        // Only the plane matters: both ends are ours.
        let peer = InteropPeer(release: .v121, mode: .tcp)
        let endpoint = EndpointID(namespace: "dynamo", component: "backend", name: "generate")
        try await withTemporaryDirectory { folder in
            let program = TestEnvironment.products.appending(path: "dynamo-worker").path
            // Each stream has a token now and the next one in a long time.
            let environment = interop.environment(peer, folder)
            _ = try await withProgram(program, ["--rate", "0.02"], environment: environment) { worker in
                let instance = try await interop.instance(peer, of: endpoint, in: folder)
                try await interop.withManager(peer) { manager in
                    try await self.openAndClose(manager, instance, worker)
                }
            }
        }
    }

    private func openAndClose(_ manager: NetworkManager, _ instance: Instance, _ worker: RunningProgram) async throws {
        let workerFiles = "/proc/\(worker.pid)/fd"
        let before = (own: self.entries("/proc/self/fd"), worker: self.entries(workerFiles))
        let memory = (own: self.residentMegabytes("self"), worker: self.residentMegabytes("\(worker.pid)"))
        let request = #"{"model":"echo","messages":[{"role":"user","content":"one two three four"}],"stream":true}"#
        let start = ContinuousClock.now
        var streams: [ResponseStream] = []
        try await withThrowingTaskGroup(of: ResponseStream.self) { group in
            for number in 0..<Self.count {
                group.addTask {
                    try await manager.client.send(
                        OutgoingRequest(id: "r\(number)", payload: ByteBuffer(string: request)),
                        to: instance
                    )
                }
            }
            for try await stream in group {
                streams.append(stream)
            }
        }
        let opened = ContinuousClock.now - start
        #expect(self.entries("/proc/self/fd") - before.own >= Self.count)
        #expect(self.entries(workerFiles) - before.worker >= Self.count)
        // Every stream is alive: one item of each, in another order than they were opened.
        var iterators = streams.reversed().map { $0.makeAsyncIterator() }
        streams = []
        for index in iterators.indices { #expect(try await iterators[index].next() != nil) }
        let threads = (own: self.entries("/proc/self/task"), worker: self.entries("/proc/\(worker.pid)/task"))
        #expect(threads.own < 64 && threads.worker < 64, "\(threads)")
        print(
            "10,000 streams: opened in \(opened), all read after \(ContinuousClock.now - start), resident MB per process",
            self.residentMegabytes("self") - memory.own,
            self.residentMegabytes("\(worker.pid)") - memory.worker
        )
        iterators = []
        try await eventually(within: .seconds(20), "no connection is left") {
            self.entries("/proc/self/fd") < before.own + 100 && self.entries(workerFiles) < before.worker + 100
        }
    }
}
