import Foundation
import Glibc
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
}

@Suite(.serialized) struct PortLeasesTests {
    @Test func leasesAreDistinctAndInTheirRange() throws {
        let folder = ScratchFolder()
        let leases = PortLeases(directory: folder.path)
        let requests = (0..<20).map { PortLeases.Request(name: "worker-\($0)/system", kind: .system) }
        let ports = try leases.lease(requests, deployment: "a")
        #expect(Set(ports).count == 20)
        #expect(ports.allSatisfy { (10_000...32_767).contains($0) })
        // Another deployment with the same names gets others.
        let other = try leases.lease(requests, deployment: "b")
        #expect(Set(other).isDisjoint(with: ports))
    }

    @Test func theSameDeploymentGetsItsPortsAgain() throws {
        let folder = ScratchFolder()
        let leases = PortLeases(directory: folder.path)
        let first = try leases.lease([.init(name: "w/system")], deployment: "a")
        try leases.release(deployment: "a")
        #expect(try leases.lease([.init(name: "w/system")], deployment: "a") == first)
    }

    @Test func blocksAreConsecutiveAndAvoidWhatIsTaken() throws {
        let folder = ScratchFolder()
        let leases = PortLeases(directory: folder.path)
        let first = try leases.lease([.init(name: "w", count: 4)], deployment: "a")[0]
        try leases.release(deployment: "a")
        let second = try leases.lease([.init(name: "w", count: 4)], deployment: "a", avoiding: [first + 2])[0]
        #expect(!(second...(second + 3)).contains(first + 2))
    }

    @Test func aPortThatIsBoundIsNotGiven() throws {
        let folder = ScratchFolder()
        let leases = PortLeases(directory: folder.path)
        let first = try leases.lease([.init(name: "w")], deployment: "a")[0]
        try leases.release(deployment: "a")
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
        #expect(try leases.lease([.init(name: "w")], deployment: "a")[0] != first)
    }

    @Test func leasesOfTheDeadExpire() throws {
        let folder = ScratchFolder()
        let leases = PortLeases(directory: folder.path)
        let first = try leases.lease([.init(name: "w")], deployment: "a")[0]
        // The same number, another process: the start time tells them apart.
        let path = "\(folder.path)/ports.json"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let changed = text.replacing(/"startTime":\d+/, with: "\"startTime\":1")
        #expect(changed != text)
        try changed.write(toFile: path, atomically: true, encoding: .utf8)
        #expect(try leases.lease([.init(name: "w")], deployment: "a")[0] == first)
    }

    @Test func aBrokenRegistryIsReplaced() throws {
        let folder = ScratchFolder()
        try "{".write(toFile: "\(folder.path)/ports.json", atomically: true, encoding: .utf8)
        _ = try PortLeases(directory: folder.path).lease([.init(name: "w")], deployment: "a")
    }

    @Test func aFolderThatCannotBeMadeIsNamed() {
        #expect(throws: PortLeases.Failure.self) {
            try PortLeases(directory: "/proc/nowhere").lease([.init(name: "w")], deployment: "a")
        }
    }
}
