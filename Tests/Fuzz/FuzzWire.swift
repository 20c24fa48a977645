import FuzzSupport

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Feeds every wire decoder and every machine of a transport with a number of inputs each: `DYNAMO_FUZZ=1 swift run -c release fuzz-wire 2000000`.
@main enum FuzzWire {
    static func main() throws {
        let arguments = CommandLine.arguments.dropFirst().map { UInt64($0) }
        guard arguments.count <= 2, !arguments.contains(nil) else {
            print("usage: fuzz-wire [inputs for each family, default 100000] [number of the first input, default 1]")
            exit(2)
        }
        let inputs = arguments.first.flatMap(\.self).map(Int.init(clamping:)) ?? 100_000
        let seed = arguments.dropFirst().first.flatMap(\.self) ?? 1
        var total = 0
        for target in try FuzzTarget.wire() + FuzzTarget.transports() + FuzzTarget.gateway() {
            do {
                let report = try FuzzDriver.run(target, .inputs(inputs), seed: seed)
                print(report)
                total += report.inputs
            } catch {
                print(error)
                exit(1)
            }
        }
        print("fuzz: \(total) inputs in total, nothing found")
    }
}
