import Foundation
import Glibc
import TestSupport
import Testing

@testable import Supervisor

@Suite struct PortListenersTests {
    @Test func onlyListenersCount() {
        let listeners = PortListeners(
            table: """
                  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
                   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1
                   1: 0100007F:1F41 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1
                   2: 0100007F:1F42 0100007F:A000 06 00000000:00000000 00:00000000 00000000     0        0 0 3
                   3: 00000000000000000000000001000000:1F43 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1
                garbage
                """
        )
        #expect([8000, 8001, 8002, 8003, 8004].map(listeners.isTaken) == [true, false, false, true, false])
    }

    /// A machine with a busy port has a table of megabytes, which must not be held as a whole.
    @Test func `a long file is read line by line, wherever its parts end`() async throws {
        try await withTemporaryDirectory { directory in
            let file = directory.appending(path: "table").path
            let lines = (0..<2000).map { "\($0) " + String(repeating: "x", count: $0 % 173) }
            for (end, extra) in [("\n", [String]()), ("", []), ("\n", ["", "the last"])] {
                let wanted = lines + extra
                try Data((wanted.joined(separator: "\n") + end).utf8).write(to: URL(filePath: file))
                var seen: [String] = []
                ProcessTable.eachLine(of: file) { seen.append(String(decoding: $0, as: UTF8.self)) }
                #expect(seen == wanted)
            }
            try Data((String(repeating: "y", count: 100_000) + "\nnext\n").utf8).write(to: URL(filePath: file))
            var last = ""
            ProcessTable.eachLine(of: file) { last = String(decoding: $0, as: UTF8.self) }
            #expect(last == "next", "what is behind a line that has no room is seen")
        }
        ProcessTable.eachLine(of: "/no such file") { _ in Issue.record("it has lines") }
    }
}

@Suite(.serialized) struct PortLeasesTests {
    @Test func leasesAreDistinctAndInTheirRange() throws {
        let (a, b) = (PortLeases(holder: "a"), PortLeases(holder: "b"))
        let requests = (0..<20).map { PortLeases.Request(name: "worker-\($0)/system", kind: .system) }
        let ports = try requests.map { try a.lease($0) }
        #expect(Set(ports).count == 20)
        #expect(ports.allSatisfy { (10_000...32_767).contains($0) })
        // Another deployment with the same names gets others.
        #expect(Set(try requests.map { try b.lease($0) }).isDisjoint(with: ports))
    }

    @Test func theSameDeploymentGetsItsPortsAgain() throws {
        let leases = PortLeases(holder: "a")
        let first = try leases.lease(.init(name: "w/system"))
        leases.release()
        #expect(try leases.lease(.init(name: "w/system")) == first)
    }

    @Test func blocksAreConsecutiveAndAvoidWhatIsTaken() throws {
        let leases = PortLeases(holder: "a")
        let first = try leases.lease(.init(name: "w", count: 4))
        leases.release()
        let second = try leases.lease(.init(name: "w", count: 4), avoiding: [first + 2])
        #expect(!(second...(second + 3)).contains(first + 2))
    }

    @Test func aPortThatIsBoundIsNotGiven() throws {
        let leases = PortLeases(holder: "a")
        let first = try leases.lease(.init(name: "w"))
        leases.release()
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(first).bigEndian)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, 16) }
        }
        try #require(bound == 0)
        #expect(try leases.lease(.init(name: "w")) != first)
    }

    @Test func aLeaseIsSeenByEveryLauncher() throws {
        // Of the same name, with other folders: what they look at is the system's.
        let (first, second) = (PortLeases(holder: "a"), PortLeases(holder: "a"))
        let port = try first.lease(.init(name: "w"))
        #expect(try second.lease(.init(name: "w")) != port)
        second.release()
        #expect(try second.preview(.init(name: "w")) != port)
        // What was only looked at is free.
        first.release()
        #expect(try second.preview(.init(name: "w")) == port)
        #expect(try first.lease(.init(name: "w")) == port)
    }

    @Test func `leases that were taken over are given to who asks for them, and the rest is given back`() throws {
        let before = PortLeases(holder: "a")
        let ports = try ["w", "x", "y"].map { try before.lease(.init(name: $0)) }
        let block = try before.lease(.init(name: "kv", count: 3))
        let leases = PortLeases(holder: "a")
        leases.adopt(before.copies + [Int32(open("/dev/null", O_RDONLY))])
        before.release()
        #expect(try PortLeases(holder: "a").preview(.init(name: "w")) != ports[0])
        #expect(try leases.lease(.init(name: "w")) == ports[0])
        #expect(try leases.lease(.init(name: "kv", count: 3)) == block)
        leases.takeBack(ports[1]..<(ports[1] + 1))
        leases.discardInherited()
        let others = PortLeases(holder: "a")
        #expect(try others.preview(.init(name: "w")) != ports[0])
        #expect(try others.preview(.init(name: "x")) != ports[1])
        #expect(try others.preview(.init(name: "y")) == ports[2])
        #expect(try others.preview(.init(name: "kv", count: 3)) != block)
    }

    @Test func leasesOfTheDeadExpire() throws {
        var leases: PortLeases? = PortLeases(holder: "a")
        let port = try leases?.lease(.init(name: "w"))
        leases = nil
        #expect(try PortLeases(holder: "a").lease(.init(name: "w")) == port)
    }
}
