import Foundation
import Systemd
import TestSupport
import Testing

/// What a process says to the service manager, received on a real notification socket.
@Suite struct ServiceNotifierTests {
    @Test func `each step of a service's life arrives as one message`() async throws {
        try await withTemporaryDirectory { directory in
            let socket = try NotifySocket(in: directory)
            let output = try await Self.run("life", ["NOTIFY_SOCKET": socket.path])
            #expect(output.contains("outcomes [Systemd.ServiceNotifier.Outcome.sent], managed true"))
            let messages = socket.all().map(\.lines)
            try #require(messages.count == 7)
            // A status cannot smuggle another assignment in.
            #expect(messages[0] == ["STATUS=1 of 2 ready: worker READY=1", "EXTEND_TIMEOUT_USEC=2500000"])
            #expect(messages[1] == ["READY=1", "STATUS=ready"])
            #expect(messages[2] == ["WATCHDOG=1"])
            #expect(messages[3].first == "RELOADING=1")
            #expect(messages[3].last == "STATUS=reading the manifest")
            let time = try #require(messages[3].dropFirst().first?.split(separator: "="))
            #expect(time.first == "MONOTONIC_USEC")
            let microseconds = try #require(time.last.flatMap { UInt64($0) })
            var now = timespec()
            clock_gettime(CLOCK_MONOTONIC, &now)
            let age = Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1000 - Int64(microseconds)
            #expect((0..<60_000_000).contains(age))
            #expect(messages[4].first == "READY=1")
            #expect(messages[4].last?.hasPrefix("MAINPID=") == true)
            #expect(messages[5] == ["STOPPING=1", "STATUS=stopping"])
            #expect(messages[6] == ["STATUS=no port", "EXIT_STATUS=3", "ERRNO=\(EADDRINUSE)"])
        }
    }

    @Test func `without a service manager nothing is said and nothing fails`() async throws {
        let output = try await Self.run("life", ["NOTIFY_SOCKET": nil])
        #expect(output.contains("outcomes [Systemd.ServiceNotifier.Outcome.notManaged], managed false"))
    }

    @Test func `a service manager that is gone is said, not passed over`() async throws {
        let output = try await Self.run("life", ["NOTIFY_SOCKET": "/nowhere/notify"])
        #expect(output.contains("failed(\"the service manager cannot be told: No such file or directory\")"))
    }

    @Test func `a stored descriptor travels with its name`() async throws {
        try await withTemporaryDirectory { directory in
            let socket = try NotifySocket(in: directory)
            let (output, messages) = try await withThrowingTaskGroup(of: String.self) { group in
                group.addTask { try await Self.run("store", ["NOTIFY_SOCKET": socket.path]) }
                var messages: [NotifySocket.Message] = []
                try await eventually("all is said") {
                    messages += socket.all()
                    return messages.count == 3
                }
                // Who waits for the service manager goes on when that has closed what came with the message.
                #expect(messages[2].lines == ["BARRIER=1"])
                #expect(messages[2].descriptors.allSatisfy { close($0) == 0 })
                return (try await group.next() ?? "", messages)
            }
            #expect(messages[0].lines == ["FDSTORE=1", "FDNAME=public"])
            #expect(messages[0].descriptors.count == 1)
            #expect(messages[0].descriptors.allSatisfy { close($0) == 0 })
            #expect(messages[1].lines == ["FDSTOREREMOVE=1", "FDNAME=public"])
            #expect(messages[1].descriptors.isEmpty)
            #expect(output.contains("error: badName: 'a:b' is no name for a descriptor"))
        }
    }

    @Test func `storing without a service manager is an error`() async throws {
        let output = try await Self.run("store", ["NOTIFY_SOCKET": nil])
        #expect(output.contains("error: notManaged: descriptor 0 ('public')"))
    }

    @Test(arguments: [
        ("WATCHDOG_USEC=20000000", "interval 20.0 seconds, period 10.0 seconds; left 0"),
        ("WATCHDOG_USEC=20000000 WATCHDOG_PID=1", "interval none; left 0"),
        ("WATCHDOG_PID=1", "interval none; left 0"),
        (
            "WATCHDOG_USEC=soon",
            "error: badVariable: the environment has WATCHDOG_USEC=soon, which no service manager sets"
        ),
        ("WATCHDOG_USEC=0", "error: badVariable"),
    ])
    func `the watchdog's interval is taken out of the environment`(variables: String, expected: String) async throws {
        let run = try await withProgram(
            "/usr/bin/env",
            variables.split(separator: " ").map(String.init) + [subject, "watchdog"]
        ) {
            try await $0.waitForExit()
            return $0.output
        }
        #expect(run.value.contains(expected), "\(run.value)")
    }

    private static func run(_ action: String, _ environment: [String: String?]) async throws -> String {
        try await withProgram(subject, [action], environment: environment) {
            try await $0.waitForExit()
            return $0.output
        }.value
    }
}
