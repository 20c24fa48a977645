package import KVRouter
import NIOCore

/// Sends events as messages of the event plane, in the form of one release.
package final class EventChannelSink: KVEventSink {
    private let channel: EventChannel

    package init(_ channel: EventChannel) { self.channel = channel }

    package func send(_ events: [RouterEvent]) async throws {
        if self.channel.form.takesBatches {
            try self.publish(events[...])
        } else {
            for index in events.indices {
                do { try self.publish(events[index...index]) } catch {
                    throw SentInPart(count: index - events.startIndex, reason: error)
                }
            }
        }
    }

    private func publish(_ events: ArraySlice<RouterEvent>) throws {
        var payload = ByteBuffer()
        payload.reserveCapacity(events.reduce(0) { $0 + $1.estimatedSize })
        payload.writeRouterEvents(events, form: self.channel.form)
        try self.channel.publish(payload)
    }

    package func linkChanges() -> any AsyncSequence<Bool, Never> & Sendable { self.channel.linkChanges() }
}

/// Sends every event in the forms of several releases, each with its own subject and channel, so that routers of all of them understand it.
///
/// What one of the channels does not take is sent to all of them again; routers drop what they have.
package struct SeveralFormsSink: KVEventSink {
    private let sinks: [EventChannelSink]

    /// - Parameter channels: of one plane, so that all of them are up or none.
    package init(_ channels: [EventChannel]) { self.sinks = channels.map(EventChannelSink.init) }

    package func send(_ events: [RouterEvent]) async throws {
        for sink in self.sinks {
            do { try await sink.send(events) } catch let part as SentInPart { throw part.reason }
        }
    }

    package func linkChanges() -> any AsyncSequence<Bool, Never> & Sendable {
        // All channels of a plane say the same.
        self.sinks.first?.linkChanges() ?? NoSink().linkChanges()
    }
}
