import RequestPlane
import Testing

@testable import Discovery

@Suite("What is to be written to etcd")
struct EtcdRegistrationTests {
    private let instance = DiscoveryKey(bucket: .instances, path: "n/c/e/7")
    private let model = DiscoveryKey(bucket: .models, path: "n/c/e/7")

    private func writes(_ registration: inout EtcdRegistration) -> [DiscoveryKey] {
        var keys: [DiscoveryKey] = []
        while let write = registration.next, keys.count < 10 {
            keys.append(write.key)
            _ = registration.wrote(write)
        }
        return keys
    }

    @Test("an instance is written before its card, and each once")
    func order() {
        var registration = EtcdRegistration()
        let id = registration.granted(7)
        #expect(id == InstanceID(rawValue: 7))
        registration.publish([(self.model, [1]), (self.instance, [2])])
        #expect(registration.next == .init(key: self.instance, value: [2], lease: 7))
        let order = self.writes(&registration)
        #expect(order == [self.instance, self.model])
        #expect(registration.next == nil)
    }

    @Test("a lost lease brings everything back under the same id")
    func loss() {
        var registration = EtcdRegistration()
        _ = registration.granted(7)
        registration.publish([(self.instance, [2])])
        _ = self.writes(&registration)
        let other = registration.lost(6)
        #expect(other == nil)
        #expect(registration.next == nil)
        let count = registration.lost(7)
        #expect(count == 1)
        #expect(registration.next?.lease == 7)
        #expect(registration.id == InstanceID(rawValue: 7))
    }

    @Test("of two that ask for an id at once the first decides")
    func twoLeases() {
        var registration = EtcdRegistration()
        _ = registration.granted(7)
        let id = registration.granted(8)
        #expect(id == InstanceID(rawValue: 7))
        #expect(registration.lease == 7)
    }

    @Test("what was replaced while it was written is written again")
    func replaced() throws {
        var registration = EtcdRegistration()
        _ = registration.granted(7)
        registration.publish([(self.instance, [1])])
        let old = try #require(registration.next)
        registration.publish([(self.instance, [2])])
        let new = try #require(registration.next)
        var stays = registration.wrote(new)
        #expect(stays)
        #expect(registration.next == nil)
        // The older value has arrived last.
        stays = registration.wrote(old)
        #expect(stays)
        #expect(registration.next?.value == [2])
    }

    @Test("models go alone: the lease and the instances stay, and a model that is written meanwhile must go")
    func withdrawnModels() throws {
        let model = DiscoveryKey(bucket: .models, path: "n/backend/generate/7")
        var registration = EtcdRegistration()
        _ = registration.granted(7)
        registration.publish([(self.instance, [1]), (model, [2])])
        let first = try #require(registration.next)
        _ = registration.wrote(first)
        let second = try #require(registration.next)
        #expect(second.key == model)
        let withdrawn = registration.withdrawModels()
        let stays = registration.wrote(second)
        let lost = registration.lost(7)
        let again = registration.withdrawModels()
        #expect(withdrawn == [model] && !stays && registration.lease == 7)
        #expect(lost == 1 && registration.next?.key == self.instance && again == [])
    }

    @Test("what was withdrawn while it was written must go; nothing is published without a lease")
    func withdrawn() throws {
        var registration = EtcdRegistration()
        _ = registration.granted(7)
        registration.publish([(self.instance, [1])])
        let write = try #require(registration.next)
        let lease = registration.withdraw()
        let stays = registration.wrote(write)
        let again = registration.withdraw()
        #expect(lease == 7 && !stays && again == nil)
        registration.publish([(self.instance, [1])])
        #expect(registration.next == nil)
        _ = registration.granted(7)
        registration.publish([(self.instance, [1])])
        #expect(registration.next == write)
    }
}
