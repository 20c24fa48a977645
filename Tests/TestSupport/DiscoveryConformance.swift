package import Discovery
package import RequestPlane

/// What every discovery back-end must do, as one body that is run against each of them.
package enum DiscoveryConformance {
    /// A back-end broke a rule.
    package struct Violation: Error, CustomStringConvertible {
        package let description: String
    }

    /// Checks two clients of one store.
    ///
    /// - Parameters:
    ///   - namespace: a name that nobody else uses in this store.
    ///   - makeClient: makes a client of the store that all of them share.
    /// - Throws: `Violation` or what a client throws.
    package static func check(
        namespace: String,
        _ makeClient: @Sendable () -> any DiscoveryClient
    ) async throws {
        let (worker, reader) = (makeClient(), makeClient())
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await worker.run() }
            group.addTask { try await reader.run() }
            let seen = Recorded<DiscoverySnapshot?>(nil)
            let changes = reader.watch(.exact(namespace))
            group.addTask { for await snapshot in changes { seen.value = snapshot } }

            try await eventually("a watch begins with the present state") {
                seen.value == DiscoverySnapshot()
            }

            let id = try await worker.instanceID()
            try await require(try await worker.instanceID() == id, "the instance id changed")
            let other = try await reader.instanceID()
            try await require(id != other, "two clients have one instance id")

            let records = self.records(namespace: namespace, id: id)
            let expected = DiscoverySnapshot(records)
            try await worker.publish(records)
            try await eventually("the watch shows what was published") { seen.value == expected }
            try await require(
                try await reader.snapshot(.exact(namespace)) == expected,
                "the snapshot differs from the watch"
            )
            let part = String(namespace.dropLast())
            try await require(try await reader.snapshot(.prefix(part)) == expected, "a prefix does not match")
            try await require(
                try await reader.snapshot(.exact(part)) == DiscoverySnapshot(),
                "an exact name matches as a prefix"
            )
            try await require(
                try await reader.snapshot(.all).instances.contains(where: { $0.instance.id == id }),
                "the whole snapshot lacks the instance"
            )

            let replacement = self.records(namespace: namespace, id: id, model: "another-name-for-it")
            try await worker.publish(replacement)
            try await eventually("the watch shows what was replaced") {
                seen.value == DiscoverySnapshot(replacement)
            }

            try await require(await worker.withdrawModels(), "no model was there to be withdrawn")
            let instances = DiscoverySnapshot(replacement.filter { $0.key.bucket == .instances })
            try await eventually("the watch shows the instance without its model") { seen.value == instances }
            try await require(
                try await worker.snapshot(.exact(namespace)) == instances,
                "not the model alone was withdrawn"
            )
            try await require(!(await worker.withdrawModels()), "a model was there after its withdrawal")

            // Somebody else knows that the worker is gone.
            let gone = try await reader.snapshot(.exact(namespace)).instances
            try await reader.remove(gone)
            try await eventually("the watch shows that the instance was removed") { seen.value == DiscoverySnapshot() }
            try await reader.remove(gone)
            try await worker.publish(replacement)
            try await eventually("the watch shows what is published again") {
                seen.value == DiscoverySnapshot(replacement)
            }

            await worker.withdraw()
            try await eventually("the watch shows the withdrawal") { seen.value == DiscoverySnapshot() }
            try await require(
                try await worker.snapshot(.exact(namespace)) == DiscoverySnapshot(),
                "records stay after the withdrawal"
            )
            group.cancelAll()
            while let result = await group.nextResult() { _ = result }
        }
    }

    /// An instance and its model.
    package static func records(namespace: String, id: InstanceID, model: String = "m") -> [DiscoveryRecord] {
        let endpoint = EndpointID(namespace: namespace, component: "backend", name: "generate")
        let instance = Instance(endpoint: endpoint, id: id, transport: .tcp("127.0.0.1:1/\(id.hex)/generate"))
        return [
            .instance(InstanceRecord(instance)),
            .model(ModelRecord(endpoint: endpoint, id: id, card: .text(name: model, kind: .chat, contextLength: 4096))),
        ]
    }

    private static func require(_ condition: @autoclosure () async throws -> Bool, _ violation: String) async throws {
        guard try await condition() else { throw Violation(description: violation) }
    }
}
