package import KVRouter
package import NIOCore
import RequestPlane

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What a worker answers to a `KVQuery`.
package enum KVQueryAnswer: Hashable, Sendable {
    /// Everything that the worker holds, which replaces what the router had.
    case state([RouterEvent], last: UInt64)
    /// The events from the one that was asked for, with their original ids.
    case tail([RouterEvent], last: UInt64)
    /// The event that was asked for has not happened yet.
    case tooNew(start: UInt64, end: UInt64, newest: UInt64)
    /// The end lies before the start.
    case invalidRange(start: UInt64, end: UInt64)
    /// The worker cannot answer, and says why.
    case error(String)

    /// Reads the answer of any supported release.
    ///
    /// - Parameter body: JSON text.
    /// - Throws: `DecodingError` when it is none of the known answers.
    package init(_ body: ByteBuffer) throws {
        self = try JSONDecoder().decode(Reader.self, from: Data(body.readableBytesView)).answer
    }

    /// As JSON text.
    ///
    /// - Parameter form: the release of the router that has asked.
    /// - Returns: one item, which is not wrapped any further.
    package func json(_ form: DynamoEventForm) -> ByteBuffer {
        var buffer = ByteBuffer()
        switch self {
        case .state(let events, let last): Self.write("TreeDump", events, last, form, to: &buffer)
        case .tail(let events, let last): Self.write("Events", events, last, form, to: &buffer)
        case .tooNew(let start, let end, let newest):
            buffer.writeString(
                #"{"TooNew":{"requested_start":\#(start),"requested_end":\#(end),"newest_available":\#(newest)}}"#
            )
        case .invalidRange(let start, let end):
            buffer.writeString(#"{"InvalidRange":{"start_id":\#(start),"end_id":\#(end)}}"#)
        case .error(let text):
            buffer.writeStaticString(#"{"Error":"#)
            buffer.writeJSONString(text)
            buffer.writeStaticString("}")
        }
        return buffer
    }

    private static func write(
        _ name: StaticString,
        _ events: [RouterEvent],
        _ last: UInt64,
        _ form: DynamoEventForm,
        to buffer: inout ByteBuffer
    ) {
        buffer.writeStaticString("{\"")
        buffer.writeStaticString(name)
        buffer.writeStaticString(#"":{"events":["#)
        for (index, event) in events.enumerated() {
            if index > 0 { buffer.writeStaticString(",") }
            buffer.writeRouterEventJSON(event, form: form)
        }
        buffer.writeStaticString(#"],"last_event_id":"#)
        buffer.writeString(String(last))
        buffer.writeStaticString("}}")
    }
}

/// The answer as it stands in JSON.
private struct Reader: Decodable {
    let answer: KVQueryAnswer

    private enum Key: String, CodingKey {
        case state = "TreeDump"
        case tail = "Events"
        case tooNew = "TooNew"
        case invalidRange = "InvalidRange"
        case error = "Error"
    }

    private struct Events: Decodable {
        var events: [RouterEventJSON]
        var last_event_id: UInt64

        init(from decoder: any Decoder) throws {
            // Dynamo 1.0 gives the bare list.
            if let events = try? [RouterEventJSON](from: decoder) {
                self.events = events
                self.last_event_id = events.map(\.event.event.id).max() ?? 0
                return
            }
            let fields = try decoder.container(keyedBy: Field.self)
            self.events = try fields.decode([RouterEventJSON].self, forKey: .events)
            self.last_event_id = try fields.decode(UInt64.self, forKey: .last_event_id)
        }

        private enum Field: CodingKey {
            case events
            case last_event_id
        }
    }

    private struct TooNew: Decodable {
        var requested_start: UInt64
        var requested_end: UInt64?
        var newest_available: UInt64
    }

    private struct InvalidRange: Decodable {
        var start_id: UInt64
        var end_id: UInt64
    }

    init(from decoder: any Decoder) throws {
        let answer = try decoder.container(keyedBy: Key.self)
        switch answer.allKeys.first {
        case .state:
            let events = try answer.decode(Events.self, forKey: .state)
            self.answer = .state(events.events.map(\.event), last: events.last_event_id)
        case .tail:
            let events = try answer.decode(Events.self, forKey: .tail)
            self.answer = .tail(events.events.map(\.event), last: events.last_event_id)
        case .tooNew:
            let range = try answer.decode(TooNew.self, forKey: .tooNew)
            self.answer = .tooNew(
                start: range.requested_start,
                end: range.requested_end ?? range.newest_available,
                newest: range.newest_available
            )
        case .invalidRange:
            let range = try answer.decode(InvalidRange.self, forKey: .invalidRange)
            self.answer = .invalidRange(start: range.start_id, end: range.end_id)
        case .error: self.answer = .error(try answer.decode(String.self, forKey: .error))
        case nil:
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath,
                    debugDescription: "expected TreeDump, Events, TooNew, InvalidRange or Error"
                )
            )
        }
    }
}
