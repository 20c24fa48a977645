import Logging
import NIOCore
import NIOEmbedded
import NIOPosix
import RequestPlane
import Testing

@testable import RequestPlaneTransports

/// Bytes that are nearly right, in any segmentation: no crash, and no more memory than was received.
@Suite struct HTTPFuzzTests {
    private func mutated(_ bytes: ByteBuffer, _ generator: inout SplitMix) -> ByteBuffer {
        var all = Array(bytes.readableBytesView)
        for _ in 0..<Int.random(in: 0...4, using: &generator) where !all.isEmpty {
            let index = Int.random(in: 0..<all.count, using: &generator)
            switch Int.random(in: 0..<5, using: &generator) {
            case 0: all[index] = UInt8.random(in: 0...255, using: &generator)
            case 1: all.remove(at: index)
            case 2: all.insert(UInt8.random(in: 0...255, using: &generator), at: index)
            case 3: all.removeSubrange(index..<min(all.count, index + Int.random(in: 1...64, using: &generator)))
            default: all.insert(contentsOf: all[index..<min(all.count, index + 40)], at: index)
            }
        }
        return ByteBuffer(bytes: all)
    }

    @Test func serverConnections() throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let core = ServingCore(
            capacity: 10,
            callHome: CallHomeConnector(
                group: group,
                timeout: .seconds(1),
                security: ConnectionSecurity(TransportSecurity())
            ),
            refusals: .acknowledgement,
            logger: Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() }
        )
        var configuration = HTTPConfiguration()
        configuration.maximumBodySize = 4096
        let pipeline = HTTPServerPipeline(core: core, configuration: configuration)
        var seeds: [ByteBuffer] = []
        for name in ["1.0.2-http-plain-1-request", "1.2.1-http-plain-1-request", "1.2.1-http-h2c-request"] {
            seeds.append(try HTTPFixture.bytes(name))
        }
        var generator = SplitMix(state: 7)
        var answers = 0
        for number in 0..<3000 {
            let channel = EmbeddedChannel()
            try pipeline.configure(channel)
            try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
            var input = self.mutated(seeds[number % seeds.count], &generator)
            if number % 4 == 0 { input.writeImmutableBuffer(self.mutated(seeds[number % seeds.count], &generator)) }
            while input.readableBytes > 0, channel.isActive {
                let size = min(Int.random(in: 1...200, using: &generator), input.readableBytes)
                guard let piece = input.readSlice(length: size) else { break }
                // An error is an answer too.
                _ = try? channel.writeInbound(piece)
            }
            while (try? channel.readOutbound(as: IOData.self)) != nil { answers += 1 }
            channel.embeddedEventLoop.advanceTime(by: .seconds(400))
            #expect(!channel.isActive, "no connection outlives its time")
            _ = try? channel.finish(acceptAlreadyClosed: true)
        }
        #expect(answers > 3000)
    }

    @Test func texts() {
        var generator = SplitMix(state: 11)
        for _ in 0..<20_000 {
            var bytes = Array("http://[::1]:80/v1/rpc/%41?x#".utf8.shuffled(using: &generator))
            bytes.append(UInt8.random(in: 0...255, using: &generator))
            let text = String(decoding: bytes, as: UTF8.self)
            _ = try? HTTPInstanceURL(text)
            _ = try? HTTPInstanceURL("http://" + text)
            if case .endpoint(let name) = HTTPRoute(target: "/v1/rpc/" + text, rootPath: "/v1/rpc") {
                #expect(!name.isEmpty)
            }
            #expect(PercentEncoding.decode(PercentEncoding.encode(text)) == text)
        }
    }
}

/// A generator whose numbers are the same in every run.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var value = self.state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
