import Glibc
import Systemd

/// A small service for the tests: does with this process's environment and descriptors what its argument says, and prints what
/// came of it.
@main
enum Subject {
    static func main() {
        do throws(SystemdError) {
            switch CommandLine.arguments.dropFirst().first {
            case "listen": try self.listen()
            case "watchdog": try self.watchdog()
            case "life": self.life()
            case "store": try self.store()
            case "hold": try self.hold()
            default: print("usage: systemd-subject listen | watchdog | life | store | hold")
            }
        } catch {
            print("error: \(error.code.rawValue): \(error)")
            exit(1)
        }
    }

    /// Says what was passed, and answers one connection.
    private static func listen() throws(SystemdError) {
        let taken = try ListenDescriptors.take()
        for descriptor in taken {
            let flags = fcntl(descriptor.descriptor, F_GETFD)
            print("took \(descriptor.descriptor) \(descriptor) cloexec=\(flags & FD_CLOEXEC != 0)")
        }
        print("took \(taken.count); again \(try ListenDescriptors.take().count); left \(self.leftVariables())")
        var pollers = taken.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
        guard !taken.isEmpty, poll(&pollers, nfds_t(pollers.count), 10_000) > 0,
            let index = pollers.firstIndex(where: { $0.revents != 0 })
        else { return }
        let connection = accept(taken[index].descriptor, nil, nil)
        let answer = "hello from \(taken[index].name)\n"
        write(connection, answer, answer.utf8.count)
        close(connection)
    }

    private static func watchdog() throws(SystemdError) {
        let watchdog = try Watchdog.take()
        print(
            "interval \(watchdog.map { "\($0.interval), period \($0.period)" } ?? "none"); left \(self.leftVariables())"
        )
    }

    /// Every word of the protocol, in the order of a service's life.
    private static func life() {
        let notifier = ServiceNotifier()
        let outcomes = [
            notifier.send(.status("1 of 2 ready: worker\nREADY=1"), .extendTimeout(.milliseconds(2500))),
            notifier.ready(status: "ready"),
            notifier.watchdog(),
            notifier.reloading(status: "reading the manifest"),
            notifier.send(.ready, .mainPID(getpid())),
            notifier.stopping(status: "stopping"),
            notifier.failed(status: "no port", errno: EADDRINUSE, exitStatus: 3),
        ]
        print("outcomes \(Set(outcomes)), managed \(notifier.isManaged)")
    }

    /// Stores its standard input under two names, and drops one.
    private static func store() throws(SystemdError) {
        let store = DescriptorStore()
        try store.store(STDIN_FILENO, name: "public")
        try store.remove(name: "public")
        try store.store(STDIN_FILENO, name: "a:b")
    }

    /// A service that hands the socket it got to the descriptor store, and waits for its end.
    private static func hold() throws(SystemdError) {
        let taken = try ListenDescriptors.take()
        print("holds \(taken.map(\.description).sorted().joined(separator: ", "))")
        fflush(nil)
        if let first = taken.first, taken.count == 1 {
            try DescriptorStore().store(first.descriptor, name: "kept")
        }
        ServiceNotifier().ready(status: "holding \(taken.count)")
        pause()
    }

    private static func leftVariables() -> Int {
        ServiceEnvironment.variables.count { !["NOTIFY_SOCKET", "JOURNAL_STREAM"].contains($0) && getenv($0) != nil }
    }
}
