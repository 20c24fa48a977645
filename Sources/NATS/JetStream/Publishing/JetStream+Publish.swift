extension JetStream {
    /// Publishes a message and waits until a stream has stored it.
    ///
    /// A message with an id is sent again when no answer comes in time: the stream stores it once.
    ///
    /// - Parameter message: what is stored.
    /// - Returns: where it was stored.
    /// - Throws: `JetStreamError`: `streamMissing` when no stream takes the subject, `unavailable` without JetStream, `timedOut`,
    ///   `refused`.
    @discardableResult
    package func publish(_ message: StreamMessage) async throws(JetStreamError) -> PublishAcknowledgement {
        let action = "publish to '\(message.subject)' with acknowledgement"
        var attempt = 1
        while true {
            do throws(JetStreamError) {
                let reply = try await self.request(
                    message.subject,
                    headers: message.allHeaders,
                    payload: message.payload,
                    to: action
                )
                return try PublishAcknowledgement(reply, subject: message.subject)
            } catch {
                switch error.code {
                case .unavailable where error.server == nil: throw await self.explainSilence(message.subject, error)
                case .timedOut where message.id != nil && attempt < self.attempts: break
                default: throw error
                }
            }
            attempt += 1
        }
    }

    /// Tells a stream that is missing from a server without JetStream: both leave a message without an answer.
    private func explainSilence(_ subject: String, _ error: JetStreamError) async -> JetStreamError {
        struct Account: Decodable {}
        do throws(JetStreamError) {
            let _: Account = try await self.ask("INFO", to: "ask about JetStream")
            return JetStreamError(
                .streamMissing,
                "cannot publish to '\(subject)' with acknowledgement: no stream at \(self.serverList) takes this subject"
            )
        } catch {
            return error.code == .unavailable ? error : JetStreamError(.unavailable, error.message)
        }
    }
}
