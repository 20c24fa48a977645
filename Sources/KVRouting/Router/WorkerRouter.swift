package import Discovery
package import KVEvents
package import KVRouter
package import Logging
package import NIOCore
package import RequestPlane
import Synchronization

/// Sends tokenized requests to the workers of one endpoint, each to where it costs least.
///
/// All decisions are those of ``RouterMachine``; this carries them out.
package final class WorkerRouter: Sendable {
    private enum Outcome: Sendable {
        case send(Selection.Choice, Instance)
        case refuse(RemoteError)
    }

    private struct State {
        var machine: RouterMachine
        var workers = RouterWorkers()
        var callers: [String: AsyncStream<Outcome>.Continuation] = [:]
        var generator = SystemRandomNumberGenerator()
        var repeated = 0
    }

    /// How often it is looked whether another router's requests are too old.
    private static let expiryPause: Duration = .seconds(10)

    package let endpoint: EndpointID
    package let blockSize: Int
    private let client: any RequestPlaneClient
    private let overlaps: (any OverlapSource)?
    private let tell: @Sendable (ActiveSequenceEvent) -> Void
    private let report: @Sendable (WorkerLoad) -> Void
    private let logger: Logger
    private let state: Mutex<State>

    /// Creates a router without workers.
    ///
    /// - Parameters:
    ///   - endpoint: the one that requests are sent to.
    ///   - blockSize: tokens of a block, which must be the workers'.
    ///   - configuration: how workers are chosen.
    ///   - routerID: this router's among its replicas.
    ///   - client: sends the requests.
    ///   - overlaps: knows what workers hold; nil: it is predicted.
    ///   - logger: hears of workers that refuse.
    ///   - report: hears what runs on a worker when that changes; it must not block. Nil: nobody wants to know.
    ///   - tell: hears what other routers should know; it must not block.
    package init(
        of endpoint: EndpointID,
        blockSize: Int,
        configuration: RouterConfiguration,
        routerID: UInt64,
        client: any RequestPlaneClient,
        overlaps: (any OverlapSource)?,
        logger: Logger,
        report: (@Sendable (WorkerLoad) -> Void)? = nil,
        tell: @escaping @Sendable (ActiveSequenceEvent) -> Void = { _ in }
    ) {
        self.endpoint = endpoint
        self.blockSize = blockSize
        self.client = client
        self.overlaps = overlaps
        self.tell = tell
        self.report = report ?? { _ in }
        self.logger = logger
        let machine = RouterMachine(
            configuration,
            routerID: routerID,
            overlaps: overlaps,
            reportsLoad: report != nil
        )
        self.state = Mutex(State(machine: machine))
    }

    /// Workers and requests at present.
    package var counts: RouterMachine.Counts { self.state.withLock { $0.machine.counts } }

    // MARK: Workers and other routers

    /// Takes a state of discovery.
    package func follow(_ snapshot: DiscoverySnapshot) {
        let workers = RouterWorkers(of: self.endpoint, in: snapshot)
        let known = self.state.withLock { state in
            defer { state.workers = workers }
            return state.workers.blockSizes
        }
        for (worker, size) in workers.blockSizes where size != self.blockSize && known[worker] != size {
            self.logger.error(
                "a worker has blocks of another size, so nothing it holds will be found; start the router with --router-block-size \(size)",
                metadata: ["worker": "\(worker)", "blockSize": "\(self.blockSize)"]
            )
        }
        self.step { state in state.machine.update(workers.candidates, now: .now, using: &state.generator) }
    }

    /// Takes what another router tells.
    package func apply(_ event: ActiveSequenceEvent) {
        self.step { state in state.machine.apply(event, now: .now, using: &state.generator) }
    }

    /// Forgets what other routers do not tell the end of, until cancelled.
    package func run() async {
        while (try? await Task.sleep(for: Self.expiryPause)) != nil {
            self.step { state in state.machine.expire(now: .now, using: &state.generator) }
        }
    }

    // MARK: Endpoints

    /// Answers `generate`: the worker's items, the first with the worker's name.
    package func generate(_ incoming: IncomingRequest) async -> any AsyncSequence<ResponseItem, any Error> & Sendable {
        do { return try await self.route(try RoutedRequest(parsing: incoming.payload), incoming) } catch {
            return Self.failure(Self.remote(error))
        }
    }

    /// Answers `best_worker_id`: the worker that a prompt would go to, without any effect.
    package func bestWorker(_ incoming: IncomingRequest) -> any AsyncSequence<ResponseItem, any Error> & Sendable {
        let tokens: [UInt32]
        do throws(RemoteError) { tokens = try RoutedRequest.tokens(parsing: incoming.payload) } catch {
            return Self.failure(error)
        }
        let request = self.selection(tokens).request
        let selection = self.state.withLock { state in
            state.machine.best(request, now: .now, using: &state.generator)
        }
        guard case .chosen(let choice) = selection else { return Self.failure(self.refusal(selection)) }
        return Self.single(.data(JSONValue(choice.worker.worker).buffer))
    }

    /// Answers `get_overlap_scores`: what each worker holds of a prompt.
    package func overlapScores(_ incoming: IncomingRequest) -> any AsyncSequence<ResponseItem, any Error> & Sendable {
        let request: RoutedRequest
        do throws(RemoteError) { request = try RoutedRequest(parsing: incoming.payload) } catch {
            return Self.failure(error)
        }
        let selection = self.selection(request.tokens, lora: request.lora).request
        let (held, ranks) = self.state.withLock { state in
            let predicted = self.overlaps == nil ? state.machine.predicted(selection.blocks, now: .now) : nil
            return (predicted ?? selection.overlaps, state.workers.candidates.map(\.worker).sorted())
        }
        let workers = ranks.map { rank -> JSONValue in
            let overlap = held[rank] ?? Overlap()
            // Counted up to each tier, as Dynamo does, and what each tier adds.
            let host = overlap.device + overlap.hostPinned
            return [
                "worker_id": JSONValue(rank.worker), "dp_rank": JSONValue(rank.rank),
                "device_blocks": JSONValue(overlap.device), "host_pinned_blocks": JSONValue(host),
                "disk_blocks": JSONValue(host + overlap.disk),
                "host_pinned_extension_blocks": JSONValue(overlap.hostPinned),
                "disk_extension_blocks": JSONValue(overlap.disk), "shared_beyond_device_blocks": nil,
            ]
        }
        let scores: JSONValue = [
            "block_size": JSONValue(self.blockSize), "num_blocks": JSONValue(selection.blocks.count),
            "workers": .array(workers),
            "shared_cache": ["enabled": false, "total_hit_blocks": 0, "ranges": [], "error": nil],
        ]
        return Self.single(.data(scores.buffer))
    }

    // MARK: Requests

    private func route(_ request: RoutedRequest, _ incoming: IncomingRequest) async throws -> RoutedAnswer {
        let call = try await self.send(
            incoming.id,
            request.tokens,
            lora: request.lora,
            naming: request.named,
            override: request.override,
            headers: incoming.headers.filter { ["traceparent", "tracestate"].contains($0.key.lowercased()) },
            payload: request.payload
        )
        return RoutedAnswer(call.stream, ticket: call.ticket)
    }

    /// Sends a request to the worker where it costs least, waiting for one that has room.
    ///
    /// - Parameters:
    ///   - wanted: the request's id, to which something is added when a running one has it.
    ///   - tokens: of the prompt.
    ///   - lora: the adapter that the prompt's blocks depend on.
    ///   - named: the worker that the request names.
    ///   - override: what the request wants otherwise than the router is set.
    ///   - headers: go with the request.
    ///   - payload: makes what the chosen rank gets.
    /// - Returns: the answer, and the request's place in the router's load.
    /// - Throws: `RemoteError` when there is no worker for it, `RequestPlaneError` of the last attempt, or
    ///   `CancellationError`.
    package func send(
        _ wanted: String,
        _ tokens: [UInt32],
        lora: String? = nil,
        naming named: SelectionRequest.NamedWorker? = nil,
        override: RouterOverride? = nil,
        headers: [String: String] = [:],
        payload: (WorkerRank) -> ByteBuffer
    ) async throws -> RoutedCall {
        var (selection, hashes) = self.selection(tokens, lora: lora)
        selection.named = named
        selection.override = override
        let waiting = self.counts.waiting
        var refused: Set<UInt64> = []
        var redelivery = Redelivery()
        while true {
            let (id, choice, instance) = try await self.assign(wanted, selection, hashes, excluding: refused)
            let ticket = RoutedTicket(id, on: choice.worker, of: self)
            let outgoing = OutgoingRequest(id: id, headers: headers, payload: payload(choice.worker))
            do {
                return RoutedCall(
                    stream: try await self.client.send(outgoing, to: instance),
                    ticket: ticket,
                    choice: choice,
                    blocks: selection.blocks.count,
                    waiting: waiting
                )
            } catch {
                ticket.end()
                refused.insert(choice.worker.worker)
                // Those that did not take it may have left meanwhile.
                guard named == nil, redelivery.mayRepeat(after: error.code), !Task.isCancelled,
                    self.state.withLock({ $0.machine.hasWorker(besides: refused) })
                else { throw error }
                self.logger.warning(
                    "a worker did not take a request, which goes to another",
                    metadata: ["worker": "\(instance.id)", "request": "\(id)", "error": "\(error)"]
                )
            }
        }
    }

    /// Waits for the worker of a request.
    private func assign(
        _ wanted: String,
        _ selection: SelectionRequest,
        _ hashes: [TokensHash],
        excluding refused: Set<UInt64>
    ) async throws -> (id: String, choice: Selection.Choice, instance: Instance) {
        let (outcomes, caller) = AsyncStream.makeStream(of: Outcome.self)
        let id = self.state.withLock { state in
            var id = wanted
            // Two requests of one id must not end each other.
            while state.machine.knows(id) || state.callers[id] != nil {
                state.repeated += 1
                id = "\(wanted)-\(state.repeated)"
            }
            state.callers[id] = caller
            return id
        }
        self.step { state in
            state.machine.submit(
                id,
                selection,
                hashes: hashes,
                excluding: refused,
                now: .now,
                using: &state.generator
            )
        }
        for await outcome in outcomes {
            switch outcome {
            case .send(let choice, let instance): return (id, choice, instance)
            case .refuse(let error): throw error
            }
        }
        // Cancelled while it waited, or at the moment when it was sent.
        _ = self.state.withLock { $0.callers.removeValue(forKey: id) }
        self.ended(id)
        throw CancellationError()
    }

    func produced(_ tokens: Int, for id: String) {
        self.step { state in
            state.machine.produced(tokens, for: id)
            return state.machine.answered(id, now: .now, using: &state.generator)
        }
    }

    func ended(_ id: String) {
        self.step { state in state.machine.ended(id, now: .now, using: &state.generator) }
    }

    private func selection(
        _ tokens: [UInt32],
        lora: String? = nil
    ) -> (request: SelectionRequest, hashes: [TokensHash]) {
        let hashes = BlockHashing(blockSize: self.blockSize, lora: lora).hashes(tokens)
        var selection = SelectionRequest()
        selection.promptTokens = tokens.count
        selection.blockSize = self.blockSize
        selection.blocks = BlockHashing.chained(hashes)
        selection.overlaps = self.overlaps?.overlaps(hashes) ?? [:]
        return (selection, hashes)
    }

    // MARK: Actions

    /// Changes the machine and performs what it wants, outside the lock.
    private func step(_ change: (inout State) -> [RouterMachine.Action]) {
        var events: [ActiveSequenceEvent] = []
        var loads: [WorkerLoad] = []
        var outcomes: [(AsyncStream<Outcome>.Continuation, Outcome)] = []
        self.state.withLock { state in
            for action in change(&state) {
                switch action {
                case .tell(let event): events.append(event)
                case .load(let load): loads.append(load)
                case .refuse(let id, let selection):
                    guard let caller = state.callers.removeValue(forKey: id) else { continue }
                    outcomes.append((caller, .refuse(self.refusal(selection))))
                case .send(let id, let choice):
                    guard let caller = state.callers.removeValue(forKey: id) else { continue }
                    guard let instance = state.workers.instances[choice.worker.worker] else {
                        outcomes.append((caller, .refuse(self.refusal(.noWorker))))
                        continue
                    }
                    outcomes.append((caller, .send(choice, instance)))
                }
            }
        }
        for load in loads { self.report(load) }
        for event in events { self.tell(event) }
        for (caller, outcome) in outcomes {
            caller.yield(outcome)
            caller.finish()
        }
    }

    // MARK: Errors

    private func refusal(_ selection: Selection) -> RemoteError {
        switch selection {
        case .unknownWorker(let named):
            RemoteError(
                kind: .invalidArgument,
                message: "the request names worker \(named.worker), which does not serve \(self.endpoint)"
            )
        case .allBusy, .wait:
            RemoteError(kind: .resourceExhausted, message: "all workers of \(self.endpoint) are busy")
        case .noWorker, .unnamed, .chosen:
            RemoteError(kind: .unavailable, message: "no worker serves \(self.endpoint)")
        }
    }

    private static func remote(_ error: any Error) -> RemoteError {
        switch error {
        case let error as RemoteError: error
        case let error as RequestPlaneError:
            RemoteError(
                kind: error.code == .overloaded ? .resourceExhausted : .cannotConnect,
                message: "the chosen worker did not take the request: \(error)"
            )
        case is CancellationError: RemoteError(kind: .cancelled, message: "the request was cancelled")
        default: RemoteError(kind: .unknown, message: "\(error)")
        }
    }

    private static func single(_ item: ResponseItem) -> AsyncThrowingStream<ResponseItem, any Error> {
        AsyncThrowingStream { stream in
            stream.yield(item)
            stream.finish()
        }
    }

    private static func failure(_ error: RemoteError) -> AsyncThrowingStream<ResponseItem, any Error> {
        self.single(.failure(error))
    }
}
