import KVEvents
import KVRouter
import Logging
import NATS
import NIOCore
import RequestPlane
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// One of the two processes that `event_publisher.py` measures beside Dynamo's: our publisher, or the subscriber of both.
///
/// `DYNAMO_BENCHMARKS=1 swift build -c release --static-swift-stdlib --product event-benchmark`
@main enum EventBenchmark {
    static let usage = """
        usage: event-benchmark publish EVENTS BLOCKS
                   publishes events of so many blocks of 16 tokens each; prints one line of JSON
               event-benchmark count EVENTS BLOCKS
                   prints 'ready', and one line of JSON when the messages of so many events have come
        NATS_SERVER names the server. Times are seconds of the machine's monotonic clock.
        """

    static let blockSize = 16
    static let endpoint = EndpointID(namespace: "bench", component: "backend", name: "generate")

    static func main() async throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        guard arguments.count == 3, let events = Int(arguments[1]), let blocks = Int(arguments[2]), events > 0,
            blocks > 0
        else { return Self.fail() }
        var variables: [String: String] = [:]
        if let server = getenv("NATS_SERVER") { variables["NATS_SERVER"] = String(cString: server) }
        let configuration = try NATSConfiguration(environment: variables)
        let logger = Logger(label: "event-benchmark")
        switch arguments[0] {
        case "publish":
            let plane = try await NATSEventPlane.connect(configuration, logger: logger)
            await Self.publish(events, of: blocks, on: plane)
            await plane.close()
        case "count":
            let connection = try await NATSConnection.connect(configuration, logger: logger)
            try await Self.count(events, of: blocks, on: connection)
            await connection.close()
        default: Self.fail()
        }
    }

    /// As an engine reports: tokens and its own hashes; the tokens are hashed here, as Dynamo's publisher does it.
    private static func publish(_ count: Int, of blocks: Int, on plane: NATSEventPlane) async {
        let publisher = plane.publisher(
            PublisherConfiguration(form: .release12, endpoint: Self.endpoint, worker: 7)
        )
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await publisher.run() }
            let hashing = BlockHashing(blockSize: Self.blockSize)
            var tokens = [UInt32](repeating: 0, count: blocks * Self.blockSize)
            let (began, processor) = (Self.now(CLOCK_MONOTONIC), Self.now(CLOCK_PROCESS_CPUTIME_ID))
            for number in 0..<count {
                for index in tokens.indices { tokens[index] = UInt32(truncatingIfNeeded: number &* 31 &+ index) }
                let first = UInt64(number * blocks + 1)
                let stored = hashing.hashes(tokens).enumerated().map { index, hash in
                    StoredBlock(block: BlockHash(rawValue: first + UInt64(index)), tokens: hash)
                }
                if publisher.stored(stored, after: nil) == .wait { await publisher.waitForRoom() }
            }
            while publisher.statistics.sent < count, (try? await Task.sleep(for: .milliseconds(1))) != nil {}
            let statistics = publisher.statistics
            print(
                #"{"began":\#(began),"processor":\#(Self.now(CLOCK_PROCESS_CPUTIME_ID) - processor),"#
                    + #""resyncs":\#(statistics.resyncs)}"#
            )
            group.cancelAll()
        }
    }

    /// Keeps the messages, which are looked into when all have come: the measured time is that of the publisher and the server.
    private static func count(_ count: Int, of blocks: Int, on connection: NATSConnection) async throws {
        let kept = Mutex<[ByteBuffer]>([])
        let (ended, end) = AsyncStream.makeStream(of: ([ByteBuffer], Double).self)
        let subscription = try await connection.subscribe(
            DynamoEventForm.release12.subject(.events, of: Self.endpoint),
            limits: NATSSubscription.Limits(messages: 10_000_000, bytes: 4 << 30)
        ) { message in
            let all = kept.withLock { kept in
                kept.append(message.payload)
                return kept.count == count ? kept : []
            }
            if !all.isEmpty { end.yield((all, Self.now(CLOCK_MONOTONIC))) }
            return .more
        }
        try await connection.flush()
        Self.say("ready")
        for await (messages, time) in ended {
            var (stored, gaps, last) = (0, 0, UInt64(0))
            for message in messages {
                for event in try RouterEvent.read(try EventEnvelope(message).payload) {
                    if case .stored(_, let blocks) = event.event.change { stored += blocks.count }
                    if event.event.id != last + 1 { gaps += 1 }
                    last = event.event.id
                }
            }
            Self.say(
                #"{"ended":\#(time),"messages":\#(messages.count),"blocks":\#(stored),"gaps":\#(gaps)}"#
            )
            break
        }
        subscription.unsubscribe()
    }

    private static func say(_ line: String) {
        print(line)
        fflush(nil)
    }

    private static func now(_ clock: clockid_t) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func fail() {
        print(Self.usage)
        exit(2)
    }
}
