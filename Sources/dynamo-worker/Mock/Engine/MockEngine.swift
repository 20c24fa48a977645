import KVRouter

/// A simulated engine: requests wait, are taken into a batch as far as the cache has room, and run in steps.
///
/// In a step every request whose prompt is done gets a token, and prompts go on as far as the budget of tokens allows; blocks that are in
/// the cache already cost nothing. When running requests fill the cache, the newest of them goes back to wait and later
/// computes again what is no longer cached, as vLLM does. No clock: `step` says how long a step takes, and whoever runs the
/// engine says when it has ended.
struct MockEngine: Sendable {
    struct Configuration: Sendable, Hashable {
        var blockSize = 16
        /// Blocks of the cache.
        var blocks = 4096
        /// The most requests that run at once.
        var maxBatch = 256
        /// The most tokens of a step.
        var maxBatchedTokens = 8192
        /// Time for a token of a prompt.
        var prefillTime: Duration = .microseconds(50)
        /// Time for a step that makes tokens, however many.
        var decodeTime: Duration = .milliseconds(10)
        /// What answers are made of.
        var vocabulary: [UInt32] = [0]
        var seed: UInt64 = 0
    }

    enum FinishReason: String, Sendable, Hashable {
        case stop
        case length
    }

    enum Action: Sendable, Hashable {
        /// The cache has changed.
        case changes([KVEvent.Change])
        /// A token of an answer.
        case token(UInt32, BlockCache.Key)
        /// Nothing more comes for a request.
        case finish(FinishReason, BlockCache.Key)
        /// A step runs; `stepEnded` is due after this time.
        case step(Duration)
    }

    /// Numbers for those who watch.
    struct Load: Sendable, Hashable {
        var running = 0
        var waiting = 0
        var activeBlocks = 0
        var cachedBlocks = 0
        /// Full blocks of all prompts so far, and how many of them were in the cache.
        var promptBlocks = 0
        var hitBlocks = 0
        var preemptions = 0
    }

    let configuration: Configuration
    private(set) var cache: BlockCache
    private var waiting: [MockSequence] = []
    /// In the order in which they were taken in.
    private var running: [MockSequence] = []
    private var isStepping = false
    private var totals = Load()

    init(_ configuration: Configuration) {
        self.configuration = configuration
        self.cache = BlockCache(blockSize: configuration.blockSize, capacity: configuration.blocks)
    }

    var load: Load {
        var load = self.totals
        load.running = self.running.count
        load.waiting = self.waiting.count
        load.activeBlocks = self.cache.active
        load.cachedBlocks = self.cache.cached
        return load
    }

    // MARK: Inputs

    /// Takes a request.
    ///
    /// - Parameters:
    ///   - request: what fits into an empty cache together with its answer.
    ///   - key: its name.
    /// - Returns: what to do; an engine that was idle begins a step.
    mutating func submit(_ request: MockRequest, as key: BlockCache.Key) -> [Action] {
        guard request.maxTokens > 0 else { return [.finish(.length, key)] }
        self.waiting.append(MockSequence(request, key: key, seed: self.configuration.seed))
        return self.isStepping ? [] : self.startStep()
    }

    /// Forgets a request; nothing more comes for it.
    ///
    /// - Parameter key: the request's name; one that has ended is ignored.
    mutating func cancel(_ key: BlockCache.Key) {
        if let index = self.running.firstIndex(where: { $0.key == key }) {
            self.running.remove(at: index)
            self.cache.free(key)
        } else if let index = self.waiting.firstIndex(where: { $0.key == key }) {
            self.waiting.remove(at: index)
        }
    }

    /// Ends the step that runs, and starts the next one.
    mutating func stepEnded() -> [Action] {
        guard self.isStepping else { return [] }
        self.isStepping = false
        var actions: [Action] = []
        self.makeTokens(&actions)
        self.grow(&actions)
        return actions + self.startStep()
    }

    // MARK: A step

    /// The tokens of the step that has ended.
    private mutating func makeTokens(_ actions: inout [Action]) {
        var hasEnded = false
        for index in self.running.indices {
            guard let made = self.running[index].endStep(vocabulary: self.configuration.vocabulary) else { continue }
            let key = self.running[index].key
            actions.append(.token(made.token, key))
            guard let reason = made.finish else { continue }
            actions.append(.finish(reason, key))
            self.cache.free(key)
            hasEnded = true
        }
        if hasEnded { self.running.removeAll { $0.hasEnded } }
    }

    /// Puts the new tokens into the cache, oldest request first.
    private mutating func grow(_ actions: inout [Action]) {
        var index = 0
        while index < self.running.count {
            guard let token = self.running[index].uncached else {
                index += 1
                continue
            }
            if let changes = self.cache.append(token, to: self.running[index].key) {
                if !changes.isEmpty { actions.append(.changes(changes)) }
                self.running[index].uncached = nil
                index += 1
            } else {
                self.preempt()
            }
        }
    }

    /// Sends the newest request back to wait; nobody else has used so little time.
    private mutating func preempt() {
        guard var newest = self.running.popLast() else { return }
        self.cache.free(newest.key)
        newest.restart()
        self.waiting.insert(newest, at: 0)
        self.totals.preemptions += 1
    }

    private mutating func startStep() -> [Action] {
        var actions: [Action] = []
        var budget = self.configuration.maxBatchedTokens
        var prefilled = 0
        var makesTokens = false
        for index in self.running.indices {
            if self.running[index].prefillLeft == 0 {
                makesTokens = true
                budget -= 1
            } else {
                prefilled += self.running[index].schedule(&budget)
            }
        }
        var taken = 0
        while taken < self.waiting.count, self.running.count < self.configuration.maxBatch, budget > 0 {
            var next = self.waiting[taken]
            guard let allocation = self.cache.allocate(next.tokens, for: next.key, lora: next.request.lora) else {
                break
            }
            if !allocation.changes.isEmpty { actions.append(.changes(allocation.changes)) }
            self.totals.promptBlocks += allocation.blocks
            self.totals.hitBlocks += allocation.hits
            next.admit(cached: allocation.hits * self.configuration.blockSize)
            prefilled += next.schedule(&budget)
            self.running.append(next)
            taken += 1
        }
        self.waiting.removeFirst(taken)
        guard !self.running.isEmpty else { return actions }
        self.isStepping = true
        let decode = makesTokens ? self.configuration.decodeTime : .zero
        return actions + [.step(decode + self.configuration.prefillTime * prefilled)]
    }
}
