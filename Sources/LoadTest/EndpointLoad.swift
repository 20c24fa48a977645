import NIOCore
package import RequestPlane
import Synchronization

/// Calls an endpoint's instances on the request plane itself, past any frontend; they take turns.
package struct EndpointLoad: LoadTarget {
    private let client: any RequestPlaneClient
    private let instances: [Instance]
    private let model: String

    /// Names whom to call.
    ///
    /// - Parameters:
    ///   - client: calls.
    ///   - instances: at least one.
    ///   - model: the model named in the requests, for workers that take text.
    package init(client: any RequestPlaneClient, instances: [Instance], model: String) {
        self.client = client
        self.instances = instances
        self.model = model
    }

    package func run(_ shape: LoadShape) async -> LoadResult {
        let budget = LoadBudget(shape.extent)
        let payload = self.payload(shape)
        return await withTaskGroup(of: LoadResult.self) { group in
            for lane in 0..<shape.concurrency {
                group.addTask { await self.lane(lane, payload, budget) }
            }
            var total = LoadResult()
            for await result in group { total.add(result) }
            return total
        }
    }

    private func lane(_ lane: Int, _ payload: ByteBuffer, _ budget: LoadBudget) async -> LoadResult {
        var result = LoadResult()
        var number = lane
        var failuresInARow = 0
        while failuresInARow < 20, !Task.isCancelled, budget.take() {
            let instance = self.instances[number % self.instances.count]
            number += 1
            do throws(RequestPlaneError) {
                try await self.call(instance, id: "load-\(lane)-\(number)", payload, &result)
                failuresInARow = 0
            } catch {
                failuresInARow += 1
                result.fail("\(error.code.rawValue): \(error.message)")
            }
        }
        return result
    }

    private func call(
        _ instance: Instance,
        id: String,
        _ payload: ByteBuffer,
        _ result: inout LoadResult
    ) async throws(RequestPlaneError) {
        let sent = NIODeadline.now().uptimeNanoseconds
        let stream = try await self.client.send(OutgoingRequest(id: id, payload: payload), to: instance)
        var iterator = stream.makeAsyncIterator()
        var last: UInt64?
        var first: UInt64 = 0
        var gaps: [UInt64] = []
        do {
            while let item = try await iterator.next() {
                switch item {
                case .annotation: continue
                case .failure(let error): throw RequestPlaneError(.remote, "\(error)")
                case .data, .bare: break
                }
                let now = NIODeadline.now().uptimeNanoseconds
                if let last { gaps.append(now - last) } else { first = now - sent }
                last = now
            }
        } catch {
            throw error as? RequestPlaneError ?? RequestPlaneError(.streamEndedEarly, "\(error)")
        }
        result.completed += 1
        result.tokens += last == nil ? 0 : gaps.count + 1
        if last != nil { result.firstToken.record(first) }
        for gap in gaps { result.betweenTokens.record(gap) }
        result.duration.record(NIODeadline.now().uptimeNanoseconds - sent)
    }

    /// Understood by workers that take text and by those that take tokens: each ignores the other's fields.
    private func payload(_ shape: LoadShape) -> ByteBuffer {
        var body = ByteBuffer(string: #"{"model":"#)
        body.writeJSONString(self.model)
        let tokenIDs = (1...max(1, shape.promptWords)).map(String.init).joined(separator: ",")
        body.writeString(
            #","messages":[{"role":"user","content":"\#(shape.prompt)"}],"max_tokens":\#(shape.tokens),"stream":true,"#
                + #""token_ids":[\#(tokenIDs)],"stop_conditions":{"max_tokens":\#(shape.tokens),"ignore_eos":true},"#
                + #""sampling_options":{},"output_options":{},"eos_token_ids":[],"annotations":[]}"#
        )
        return body
    }
}
