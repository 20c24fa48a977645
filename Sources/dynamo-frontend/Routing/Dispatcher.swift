import HTTPTypes
import KVRouter
import KVRouting
import Logging
import RequestPlane
import Synchronization

/// Who could serve a request.
struct Takers: Sendable {
    /// When it comes.
    let instances: [Instance]
    /// Who could serve it now.
    let later: @Sendable () -> [Instance]
}

/// Sends a request to one of the instances that serve it, and to others if the first did not take it.
final class Dispatcher: Sendable {
    let configuration: RouterConfiguration
    private let client: any RequestPlaneClient
    private let selector: Mutex<InstanceSelector>
    /// Knows what workers hold; nil: it is predicted.
    private let overlaps: (any OverlapSource)?
    private let logger: Logger

    init(
        client: any RequestPlaneClient,
        configuration: RouterConfiguration,
        overlaps: (any OverlapSource)? = nil,
        logger: Logger
    ) {
        self.client = client
        self.configuration = configuration
        let source = configuration.usesKVEvents ? overlaps : nil
        self.selector = Mutex(InstanceSelector(configuration, predicts: source == nil))
        self.overlaps = source
        self.logger = logger
    }

    /// Sends a request; `ended` must be called when its answer has ended, or when this has thrown.
    ///
    /// - Parameters:
    ///   - request: what to send.
    ///   - named: the worker that the request names.
    ///   - prompt: its tokens, and how many a block has; only for mode kv.
    ///   - takers: who could serve it.
    /// - Returns: the answer.
    /// - Throws: `RequestPlaneError` of the last attempt, or an `OpenAIError` when there is nobody to send it to.
    func send(
        _ request: OutgoingRequest,
        naming named: SelectionRequest.NamedWorker? = nil,
        prompt: (tokens: [UInt32], blockSize: Int)? = nil,
        to takers: Takers
    ) async throws -> ResponseStream {
        var instances = takers.instances
        var refused: Set<InstanceID> = []
        var lastError = RequestPlaneError(.noInstance, "no instance is alive")
        let selection = self.selection(named, prompt)
        var redelivery = Redelivery()
        while true {
            let excluded = refused
            let outcome = self.selector.withLock { selector in
                var generator = SystemRandomNumberGenerator()
                return selector.choose(
                    request.id,
                    selection,
                    from: instances,
                    excluding: excluded,
                    now: .now,
                    using: &generator
                )
            }
            let instance: Instance
            switch outcome {
            case .instance(let chosen): instance = chosen
            case .none(let reason):
                guard refused.isEmpty, let error = OpenAIError(reason) else { throw lastError }
                throw error
            }
            do {
                return try await self.client.send(request, to: instance)
            } catch {
                guard Redelivery.neverStarted(error.code), !Task.isCancelled else { throw error }
                self.logger.warning(
                    "instance did not take a request",
                    metadata: ["instance": "\(instance.id)", "request": "\(request.id)", "error": "\(error)"]
                )
                // An instance at capacity will take others soon.
                if error.code != .overloaded {
                    self.selector.withLock { $0.failed(instance.id, now: .now) }
                }
                guard redelivery.mayRepeat(after: error.code) else { throw error }
                refused.insert(instance.id)
                lastError = error
                // An attempt may take a while, in which workers leave and their successors come.
                instances = takers.later()
            }
        }
    }

    /// The first item of a request's answer has come.
    func answered(_ id: String) {
        guard self.configuration.mode == .kv else { return }
        self.selector.withLock { $0.markPrefillCompleted(id) }
    }

    /// A request has ended, in whatever way.
    func ended(_ id: String) {
        guard self.configuration.mode.countsRequests else { return }
        self.selector.withLock { $0.ended(id) }
    }

    private func selection(
        _ named: SelectionRequest.NamedWorker?,
        _ prompt: (tokens: [UInt32], blockSize: Int)?
    ) -> SelectionRequest {
        var selection = SelectionRequest()
        selection.named = named
        guard let prompt else { return selection }
        let hashes = BlockHashing(blockSize: prompt.blockSize).hashes(prompt.tokens)
        selection.promptTokens = prompt.tokens.count
        selection.blockSize = prompt.blockSize
        selection.blocks = BlockHashing.chained(hashes)
        selection.overlaps = self.overlaps?.overlaps(hashes) ?? [:]
        return selection
    }
}

extension OpenAIError {
    /// Why no worker was chosen; nil where that is not the request's matter.
    init?(_ selection: Selection) {
        switch selection {
        case .chosen, .noWorker: return nil
        case .unnamed:
            self = .invalid(
                "This frontend routes directly: name a worker in `nvext.backend_instance_id`, `nvext.decode_worker_id` or the header "
                    + "`x-worker-instance-id`",
                param: "nvext.backend_instance_id",
                code: "worker_id_required"
            )
        case .unknownWorker(let named):
            self.init(
                status: .notFound,
                kind: .notFound,
                message: "No worker of this model has the id \(named.worker)",
                param: "nvext.backend_instance_id",
                code: "worker_not_found"
            )
        case .allBusy, .wait:
            self.init(
                status: .serviceUnavailable,
                kind: .overloaded,
                message: "All workers of this model are busy. Please retry shortly.",
                code: "overloaded"
            )
        }
    }
}
