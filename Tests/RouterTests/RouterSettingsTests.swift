import ArgumentParser
import DynamoRuntime
import KVRouter
import RequestPlane
import RouterCommandLine
import Testing

@testable import dynamo_router

@Suite struct RouterSettingsTests {
    private func settings(_ arguments: [String], _ variables: [String: String] = [:]) throws -> RouterSettings {
        let command = try RouterCommand.parse(arguments)
        return try RouterSettings(
            variables,
            endpoint: command.endpoint,
            blockSize: command.routerBlockSize,
            flags: command.flags.given
        )
    }

    @Test func `without anything it is Dynamo's router`() throws {
        let settings = try self.settings(["--endpoint", "dynamo.backend.generate"])
        #expect(settings.endpoint.description == "dynamo.backend.generate")
        #expect(settings.blockSize == 128)
        #expect(settings.configuration.mode == .kv)
        #expect(settings.configuration.usesKVEvents)
        #expect(settings.configuration.queueThreshold == 4)
        #expect(settings.warnings.isEmpty)
    }

    @Test func `options win over variables, in all spellings`() throws {
        let variables = [
            "DYN_ROUTER_ENDPOINT": "a.b.c", "DYN_ROUTER_BLOCK_SIZE": "32", "DYN_ROUTER_TTL_SECS": "7",
            "DYN_ROUTER_TEMPERATURE": "0.5", "DYN_ROUTER_MODE": "random",
        ]
        let settings = try self.settings(
            [
                "--no-kv-events", "--router-temperature", "0.2", "--kv-overlap-score-weight", "3",
                "--router-replica-sync",
            ],
            variables
        )
        #expect(settings.endpoint.description == "a.b.c")
        #expect(settings.blockSize == 32)
        #expect(settings.configuration.predictionLifetime == .seconds(7))
        #expect(settings.configuration.temperature == 0.2)
        #expect(settings.configuration.cost.prefillLoadScale == 3)
        #expect(!settings.configuration.usesKVEvents)
        #expect(settings.configuration.syncsReplicas)
        #expect(settings.configuration.mode == .kv)
    }

    @Test func `all that is wrong is named at once, with what was probably meant`() throws {
        let error = #expect(throws: ConfigurationError.self) {
            try self.settings(
                ["--endpoint", "backend.generate", "--router-queue-policy", "fcs", "--router-block-size", "0"],
                ["DYN_ROUTER_TTL_SECS": "long", "DYN_ROUTER_DURABLE_KV_EVENTS": "perhaps"]
            )
        }
        let text = try #require(error).description
        for part in [
            "--endpoint is 'backend.generate'", "did you mean 'fcfs'?", "--router-block-size is '0'",
            "DYN_ROUTER_TTL_SECS is 'long'", "DYN_ROUTER_DURABLE_KV_EVENTS",
        ] { #expect(text.contains(part), "\(text)") }
        #expect(throws: ConfigurationError.self) { try self.settings([]) }
    }

    @Test func `durable events have their own settings, which mean nothing without them`() throws {
        let durable = try self.settings(
            ["--endpoint", "a.b.c", "--router-durable-kv-events", "--router-snapshot-threshold", "5"],
            ["DYN_ROUTER_RESET_STATES": "true"]
        )
        #expect(durable.configuration.usesDurableKVEvents)
        #expect(durable.configuration.snapshotThreshold == 5)
        #expect(durable.configuration.resetsStates)
        #expect(durable.warnings.isEmpty)
        let plain = try self.settings(["--endpoint", "a.b.c", "--router-snapshot-threshold", "5"])
        #expect(plain.warnings.count == 1)
        let error = #expect(throws: ConfigurationError.self) {
            try self.settings(["--endpoint", "a.b.c", "--durable-kv-events", "--no-kv-events"])
        }
        #expect(try #require(error).description.contains("durable KV events are on although KV events are off"))
    }

    @Test func `a variable without effect is named`() throws {
        let settings = try self.settings(
            ["--endpoint", "a.b.c"],
            ["DYN_ROUTER_EVENT_THREADS": "2", "DYN_ROUTER_TEMPRATURE": "1"]
        )
        #expect(
            settings.warnings == [
                "DYN_ROUTER_EVENT_THREADS is set, but has no effect in this router",
                "DYN_ROUTER_TEMPRATURE is no variable of a router; did you mean DYN_ROUTER_TEMPERATURE?",
            ]
        )
    }
}
