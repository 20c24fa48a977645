extension JetStream {
    /// Asks about a stream.
    ///
    /// - Parameters:
    ///   - name: the stream's.
    ///   - subjects: of which subjects the messages are counted; may hold wildcards, nil counts none.
    /// - Returns: its settings and state.
    /// - Throws: `JetStreamError`, `streamMissing` when there is none.
    package func stream(
        _ name: String,
        countingSubjects subjects: String? = nil
    ) async throws(JetStreamError)
        -> StreamInfo
    {
        try Self.validate(name, "stream")
        return try await self.ask(
            "STREAM.INFO.\(name)",
            subjects.map { ["subjects_filter": $0] },
            to: "ask about the stream '\(name)'"
        )
    }

    /// Makes sure that a stream exists.
    ///
    /// - Parameters:
    ///   - configuration: how it is created when there is none.
    ///   - checked: whether one that exists with other settings is an error; otherwise it is taken as it is.
    /// - Returns: the stream as it is now.
    /// - Throws: `JetStreamError`, `differs` with the differences.
    @discardableResult
    package func createStreamIfAbsent(
        _ configuration: StreamConfiguration,
        checked: Bool = false
    ) async throws(JetStreamError) -> StreamInfo {
        let info: StreamInfo
        do throws(JetStreamError) {
            info = try await self.stream(configuration.name)
        } catch  where error.code == .streamMissing {
            do throws(JetStreamError) {
                return try await self.createStream(configuration)
            } catch  where error.code == .differs && error.server?.number == 10058 {
                // Somebody else was faster.
                info = try await self.stream(configuration.name)
            }
        }
        let differences = configuration.differences(from: info.configuration)
        guard !checked || differences.isEmpty else {
            throw JetStreamError(
                .differs,
                "the stream '\(configuration.name)' exists with other settings: \(differences.joined(separator: ", ")); "
                    + "change or delete it"
            )
        }
        return info
    }

    /// Creates a stream; one with the same settings may exist.
    ///
    /// - Parameter configuration: name, subjects and limits.
    /// - Returns: the stream.
    /// - Throws: `JetStreamError`, `differs` when it exists with other settings.
    package func createStream(_ configuration: StreamConfiguration) async throws(JetStreamError) -> StreamInfo {
        try Self.validate(configuration.name, "stream")
        return try await self.ask(
            "STREAM.CREATE.\(configuration.name)",
            configuration,
            to: "create the stream '\(configuration.name)'"
        )
    }

    /// Changes the settings of a stream, as far as the server lets them be changed.
    ///
    /// - Parameter configuration: all settings.
    /// - Returns: the stream.
    /// - Throws: `JetStreamError`.
    package func updateStream(_ configuration: StreamConfiguration) async throws(JetStreamError) -> StreamInfo {
        try Self.validate(configuration.name, "stream")
        return try await self.ask(
            "STREAM.UPDATE.\(configuration.name)",
            configuration,
            to: "change the stream '\(configuration.name)'"
        )
    }

    /// Deletes a stream with its messages and consumers.
    ///
    /// - Parameter name: the stream's.
    /// - Throws: `JetStreamError`, `streamMissing` when there is none.
    package func deleteStream(_ name: String) async throws(JetStreamError) {
        try Self.validate(name, "stream")
        let _: Done = try await self.ask("STREAM.DELETE.\(name)", to: "delete the stream '\(name)'")
    }

    /// Which messages of a stream are removed.
    package enum Purge: Sendable, Hashable, Encodable {
        case all
        /// Those with smaller sequence numbers.
        case below(UInt64)
        /// Those of a subject, which may hold wildcards.
        case subject(String)

        private enum CodingKeys: String, CodingKey { case seq, filter }

        package func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            switch self {
            case .all: break
            case .below(let sequence): try container.encode(sequence, forKey: .seq)
            case .subject(let subject): try container.encode(subject, forKey: .filter)
            }
        }
    }

    /// Removes messages from a stream.
    ///
    /// - Parameters:
    ///   - stream: its name.
    ///   - purge: which ones.
    /// - Returns: how many.
    /// - Throws: `JetStreamError`.
    @discardableResult
    package func purge(_ stream: String, _ purge: Purge) async throws(JetStreamError) -> UInt64 {
        try Self.validate(stream, "stream")
        let done: Done = try await self.ask("STREAM.PURGE.\(stream)", purge, to: "purge the stream '\(stream)'")
        return done.purged ?? 0
    }
}
