import Foundation
import TestSupport
import Testing

/// Our frontend on a socket that somebody else opened.
@Suite(.serialized) struct PassedSocketDeploymentTests {
    /// What the clients below print.
    private struct Totals: Decodable {
        var answers: [String: Int]
        var refused: Int
        var longest: Double
    }

    /// Connects anew for each request, until its input ends.
    private static let clients = """
        import json, socket, sys, threading, time
        port = int(sys.argv[1])
        totals = {'answers': {}, 'refused': 0, 'longest': 0.0}
        lock = threading.Lock()
        ended = threading.Event()
        def ask():
            while not ended.is_set():
                begin = time.monotonic()
                answer = 'none'
                try:
                    with socket.create_connection(('127.0.0.1', port), timeout=20) as connection:
                        connection.sendall(b'GET /v1/models HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')
                        answer = connection.makefile('rb').readline().decode().strip() or 'none'
                except ConnectionRefusedError:
                    answer = None
                except OSError as error:
                    answer = str(error)
                with lock:
                    if answer is None: totals['refused'] += 1
                    else: totals['answers'][answer] = totals['answers'].get(answer, 0) + 1
                    totals['longest'] = max(totals['longest'], time.monotonic() - begin)
                time.sleep(0.005)
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads: thread.start()
        print('started', flush=True)
        import signal
        signal.sigwait([signal.SIGTERM])
        ended.set()
        for thread in threads: thread.join()
        print(json.dumps(totals), flush=True)
        """

    @Test func `a frontend that is killed, and one that is asked to end, refuse no connection`() async throws {
        let manifest = """
            name: passed
            model: echo
            gateway: false
            processes:
              frontend:
                builtin: frontend
                listen: [http]
                restart: {policy: on-failure, initialDelay: 200ms, jitter: 0}
              worker: {builtin: worker, args: [--engine, echo, --model-name, echo]}

            """
        try await withTemporaryDirectory { directory in
            let path = directory.appending(path: "passed.yaml").path()
            try Data(manifest.utf8).write(to: URL(filePath: path))
            let (totals, exit) = try await Launcher.up([path]) { deployment in
                try await deployment.waitUntilReady()
                return try await withProgram(
                    "/usr/bin/python3",
                    [
                        "-c",
                        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n" + Self.clients,
                        "\(deployment.port)",
                    ]
                ) { clients in
                    try await clients.waitForOutput("started")
                    for signal in [SIGKILL, SIGTERM] {
                        let frontend = try await Self.frontend(of: deployment)
                        // 0 would be the tests' own process group.
                        try #require(frontend > 0)
                        kill(frontend, signal)
                        try await eventually(within: .seconds(20), "another frontend is ready") {
                            let now = try await Self.frontend(of: deployment)
                            return now > 0 && now != frontend
                        }
                    }
                    clients.send(SIGTERM)
                    try await clients.waitForExit(within: .seconds(30))
                    let line = try #require(clients.output.split(separator: "\n").last, "\(clients.output)")
                    return try JSONDecoder().decode(Totals.self, from: Data(line.utf8))
                }.value
            }
            #expect(exit == .code(0))
            #expect(totals.refused == 0, "\(totals)")
            // Some waited for the frontend that was not there.
            #expect(totals.longest > 0.15, "\(totals)")
            #expect(totals.answers["HTTP/1.1 200 OK", default: 0] > 100, "\(totals)")
        }
    }

    /// The pid of the frontend that is ready; 0 when there is none.
    private static func frontend(of deployment: LaunchedDeployment) async throws -> Int32 {
        let rows = try await deployment.command("status").output.split(separator: "\n")
        let row = rows.first { $0.hasPrefix("frontend ") }?.split(separator: " ") ?? []
        guard row.count > 3, row[1] == "ready" else { return 0 }
        return Int32(row[3]) ?? 0
    }

    @Test func `a frontend started by systemd-socket-activate listens on its socket`() async throws {
        let port = try freePort()
        let frontend = TestEnvironment.products.appending(path: "dynamo-frontend").path()
        try await withTemporaryDirectory { directory in
            _ = try await withProgram(
                "/usr/bin/systemd-socket-activate",
                [
                    "--listen=127.0.0.1:\(port)", "--setenv=DYN_DISCOVERY_BACKEND=file",
                    "--setenv=DYN_FILE_KV=\(directory.path())", frontend,
                ]
            ) { program in
                try await eventually("somebody listens") {
                    (try? await HTTPRequests.get("http://127.0.0.1:\(port)/live"))?.status == 200
                }
                #expect(program.output.contains("frontend listens") && program.output.contains("port=\(port)"))
            }
        }
    }

    @Test func `two sockets are one too many, and that is said`() async throws {
        let frontend = TestEnvironment.products.appending(path: "dynamo-frontend").path()
        let (first, second) = (try freePort(), try freePort())
        _ = try await withProgram(
            "/usr/bin/systemd-socket-activate",
            ["--listen=127.0.0.1:\(first)", "--listen=127.0.0.1:\(second)", frontend]
        ) { program in
            try await eventually("it ends at the first connection") {
                _ = try? await HTTPRequests.get("http://127.0.0.1:\(first)/live", limit: 5)
                return !program.isRunning
            }
            #expect(program.output.contains("one TCP socket can be passed to this program"), "\(program.output)")
        }
    }
}
