/// A request in the simulated engine, with what was made for it so far.
struct MockSequence: Sendable {
    struct Made {
        var token: UInt32
        /// Why this was the last one.
        var finish: MockEngine.FinishReason?
    }

    let key: BlockCache.Key
    let request: MockRequest
    /// Prompt and answer so far.
    private(set) var tokens: [UInt32]
    private var generated = 0
    private var random: SeededGenerator
    /// Tokens that must be computed before the next token of the answer.
    private(set) var prefillLeft = 0
    /// How many of them the running step computes.
    private var scheduled = 0
    private(set) var hasEnded = false
    private var wasAdmitted = false
    /// The newest token while it has no place in the cache.
    var uncached: UInt32?

    /// The same prompt, seed and engine give the same answer.
    init(_ request: MockRequest, key: BlockCache.Key, seed: UInt64) {
        self.key = key
        self.request = request
        self.tokens = request.prompt
        var mixed = seed ^ request.seed
        for token in request.prompt { mixed = (mixed ^ UInt64(token)) &* 0x0000_0100_0000_01B3 }
        self.random = SeededGenerator(seed: mixed)
    }

    /// Takes the sequence into the batch.
    ///
    /// - Parameter cached: tokens that need not be computed; the last one always must, for the next one follows from it.
    mutating func admit(cached: Int) {
        // What another worker has computed comes once; when it has lost its place here, it is computed here.
        let known = self.request.isTransferred && !self.wasAdmitted ? self.request.prompt.count : 0
        self.wasAdmitted = true
        self.prefillLeft = max(1, self.tokens.count - max(cached, known))
    }

    /// Computes in the next step as much as is left, within a budget.
    ///
    /// - Parameter budget: tokens that the step may still have.
    /// - Returns: tokens that the step computes.
    mutating func schedule(_ budget: inout Int) -> Int {
        self.scheduled = max(0, min(self.prefillLeft, budget))
        budget -= self.scheduled
        return self.scheduled
    }

    /// Begins again later, with the answer so far as part of the prompt.
    mutating func restart() {
        self.prefillLeft = 0
        self.scheduled = 0
        self.uncached = nil
    }

    /// What the step that has ended made: a token, unless the prompt is not done.
    mutating func endStep(vocabulary: [UInt32]) -> Made? {
        self.prefillLeft -= self.scheduled
        self.scheduled = 0
        guard self.prefillLeft == 0 else { return nil }
        let token = vocabulary.randomElement(using: &self.random) ?? 0
        self.generated += 1
        let finish: MockEngine.FinishReason? =
            if self.generated >= self.request.minTokens, self.request.stopTokens.contains(token) {
                .stop
            } else if self.generated >= self.request.maxTokens {
                self.request.endReason
            } else {
                nil
            }
        if finish == nil {
            self.tokens.append(token)
            self.uncached = token
        } else {
            self.hasEnded = true
        }
        return Made(token: token, finish: finish)
    }
}
