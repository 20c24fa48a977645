import Discovery
import KVEvents
import KVRouter
import KVRouting
import NIOCore
import RequestPlane
import TestSupport
import Testing

/// Compares an index with what workers hold, block by block.
struct IndexComparison: Sendable {
    let place: RoutedPlace
    let feed: KVIndexFeed

    /// A block in its prefix.
    struct Block: Hashable, Sendable {
        var block: BlockHash
        var tokens: TokensHash
        var parent: BlockHash?
    }

    /// The query endpoints of all workers.
    func ranks() async throws -> [WorkerRank: Instance] {
        var found: [WorkerRank: Instance] = [:]
        for record in try await self.place.discovery.snapshot(.all).instances {
            let name = record.instance.endpoint.name
            guard name.hasPrefix(KVIndexFeed.queryEndpointPrefix),
                let rank = UInt32(name.dropFirst(KVIndexFeed.queryEndpointPrefix.count))
            else { continue }
            found[WorkerRank(worker: record.instance.id.rawValue, rank: rank)] = record.instance
        }
        return found
    }

    /// What a worker says that it holds.
    func truth(_ rank: WorkerRank, at instance: Instance) async throws -> Set<Block> {
        let answer = try await KVRecovery(self.place.client, form: .release12).recover(rank, from: nil, at: instance)
        var tree = RadixTree()
        switch answer {
        case .state(let events, _), .tail(let events, _): for event in events { _ = tree.apply(event) }
        default: throw OutputMissing(text: "a worker's state", ended: false, output: "\(answer)")
        }
        return Self.blocks(tree.dump(rank))
    }

    /// Waits until the index holds exactly what the workers hold.
    ///
    /// - Returns: how many blocks that are.
    @discardableResult
    func waitUntilTrue(workers: Int = 2, within limit: Duration = .seconds(15)) async throws -> Int {
        var count = 0
        var problem = ""
        do {
            try await eventually(within: limit, "the index holds what the workers hold") {
                let ranks = try await self.ranks()
                guard ranks.count == workers else {
                    problem = "\(ranks.count) workers are in discovery"
                    return false
                }
                count = 0
                for (rank, instance) in ranks {
                    let truth = try await self.truth(rank, at: instance)
                    let index = Self.blocks(self.feed.dump(rank))
                    guard truth == index else {
                        problem = """
                            \(rank): \(truth.count) blocks are held, \(index.count) known, \
                            \(truth.subtracting(index).count) missing, \(index.subtracting(truth).count) wrong; \
                            \(self.feed.status)
                            """
                        return false
                    }
                    count += truth.count
                }
                let strangers = Set(self.feed.status.blocks.keys).subtracting(ranks.keys)
                problem = "blocks of workers that are gone: \(strangers)"
                return strangers.isEmpty
            }
        } catch {
            Issue.record("\(problem)")
            throw error
        }
        return count
    }

    private static func blocks(_ events: [RouterEvent]) -> Set<Block> {
        var blocks: Set<Block> = []
        for event in events {
            guard case .stored(var parent, let stored) = event.event.change else { continue }
            for block in stored {
                blocks.insert(Block(block: block.block, tokens: block.tokens, parent: parent))
                parent = block.block
            }
        }
        return blocks
    }
}

/// Sends prompts to workers as fast as they answer.
struct IndexLoad: Sendable {
    let place: RoutedPlace
    /// Which prompts.
    var numbers = 0..<60
    static let endpoint = EndpointID(namespace: "dynamo", component: "backend", name: "generate")

    /// Asks until the body has returned; workers that are away are left out meanwhile.
    func during<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<4 {
                group.addTask {
                    var generator = SeededNumbers(state: UInt64(number))
                    while !Task.isCancelled { await self.ask(using: &generator) }
                }
            }
            let value = try await body()
            group.cancelAll()
            return value
        }
    }

    private func ask(using generator: inout SeededNumbers) async {
        do {
            guard let worker = try await self.place.instances(Self.endpoint).randomElement(using: &generator) else {
                try await Task.sleep(for: .milliseconds(20))
                return
            }
            let prompt = RoutedPlace.prompt(.random(in: self.numbers, using: &generator), blocks: 8)
            let body = """
                {"model":"mock","token_ids":\(prompt),"stop_conditions":{"max_tokens":20,"ignore_eos":true},\
                "sampling_options":{},"output_options":{},"eos_token_ids":[],"annotations":[]}
                """
            let id = "l-\(UInt64.random(in: 0...(.max), using: &generator))"
            for try await _ in try await self.place.client.send(.init(id: id, payload: .init(string: body)), to: worker)
            {}
        } catch {
            try? await Task.sleep(for: .milliseconds(20))
        }
    }
}

/// Numbers that look random and are the same in every run.
struct SeededNumbers: RandomNumberGenerator, Sendable {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
