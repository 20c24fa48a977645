import Testing

@testable import KVRouter

@Suite("A router's settings")
struct RouterConfigurationTests {
    @Test("the defaults are those of the release")
    func defaults() {
        #expect(RouterConfiguration(release: .v1_2) == RouterConfiguration())
        let old = RouterConfiguration(release: .v1_0)
        #expect((old.queueThreshold, old.busy.prefillTokens, old.busy.decodeBlocksFraction) == (nil, nil, nil))
        let new = RouterConfiguration(release: .v1_6)
        #expect((new.queueThreshold, new.busy.prefillTokensFraction) == (nil, nil))
        #expect((new.cost.hostWeight, new.cost.diskWeight, new.predictionLifetime) == (0.75, 0.25, .seconds(120)))
    }

    @Test("each release knows its own settings, each under one variable")
    func tables() {
        for release in RouterRelease.allCases {
            let knobs = RouterKnob.all(of: release)
            #expect(Set(knobs.map(\.name)).count == knobs.count)
            #expect(Set(knobs.map(\.variable)).count == knobs.count)
            #expect(Set(knobs.flatMap(\.flags)).count == knobs.flatMap(\.flags).count)
            for knob in knobs {
                guard let text = knob.fallback else { continue }
                var configuration = RouterConfiguration(release: release)
                #expect(throws: Never.self) { try configuration.set(knob, text, named: knob.variable) }
                #expect(configuration == RouterConfiguration(release: release), "\(knob.name)")
            }
        }
        #expect(RouterKnob.named(.durableKVEvents, of: .v1_6) == nil)
        #expect(RouterKnob.named(.prefillLoadScale, of: .v1_0)?.variable == "DYN_ROUTER_KV_OVERLAP_SCORE_WEIGHT")
    }

    @Test("variables are read")
    func variables() throws {
        let configuration = try RouterConfiguration(variables: [
            "DYN_ROUTER_MODE": "KV", "DYN_ROUTER_KV_OVERLAP_SCORE_CREDIT": "0.5", "DYN_ROUTER_TEMPERATURE": "",
            "DYN_ROUTER_USE_KV_EVENTS": "no", "DYN_ROUTER_TTL_SECS": "1.5", "DYN_ROUTER_QUEUE_THRESHOLD": "None",
            "DYN_ROUTER_QUEUE_POLICY": "wspt", "DYN_KV_CACHE_BLOCK_SIZE": "32",
        ])
        #expect((configuration.mode, configuration.cost.overlapCredit) == (.kv, 0.5))
        #expect((configuration.temperature, configuration.usesKVEvents) == (0, false))
        #expect((configuration.predictionLifetime, configuration.queueThreshold) == (.milliseconds(1500), nil))
        #expect((configuration.queuePolicy, configuration.blockSize) == (.wspt, 32))
        let preset = try RouterConfiguration(variables: ["DYN_ROUTER_LOAD_AWARE": "1"])
        #expect((preset.mode, preset.cost.overlapCredit, preset.assumesKVReuse) == (.kv, 0, false))
    }

    @Test(
        "what cannot be is refused with the reason",
        arguments: [
            ("DYN_ROUTER_KV_OVERLAP_SCORE_CREDIT", "1.5", "a number from 0 to 1"),
            ("DYN_ROUTER_TEMPERATURE", "-1", "a number of 0 or more"),
            ("DYN_ROUTER_TEMPERATURE", "nan", "a number of 0 or more"),
            ("DYN_ROUTER_TEMPERATURE", "None", "a number of 0 or more"),
            ("DYN_ROUTER_REPLICA_SYNC", "maybe", "true or false"),
            ("DYN_ROUTER_QUEUE_POLICY", "lifo", "one of fcfs, wspt"),
            ("DYN_ROUTER_EVENT_THREADS", "0", "a whole number from 1 to 1024"),
            ("DYN_ROUTER_SNAPSHOT_THRESHOLD", "many", "a whole number of 1 or more"),
        ]
    )
    func refused(variable: String, text: String, allowed: String) {
        let error = #expect(throws: RouterConfigurationError.self) {
            try RouterConfiguration(variables: [variable: text])
        }
        #expect(error?.description == "\(variable) is '\(text)'; it must be \(allowed)")
    }

    @Test("contradictions are refused, and all problems are named at once")
    func contradictions() {
        let error = #expect(throws: RouterConfigurationError.self) {
            try RouterConfiguration(variables: [
                "DYN_ROUTER_TRACK_ACTIVE_BLOCKS": "false", "DYN_ROUTER_TRACK_OUTPUT_BLOCKS": "true",
                "DYN_ROUTER_TTL_SECS": "x",
            ])
        }
        #expect(error?.description.contains("output blocks are tracked") == true)
        #expect(error?.description.contains("DYN_ROUTER_TTL_SECS") == true)
    }
}
