import FuzzSupport

/// Feeds every wire decoder with a number of inputs each: `DYNAMO_FUZZ=1 swift run -c release fuzz-wire 2000000 [first input]`.
@main enum FuzzWire {
    static func main() throws {
        let arguments = CommandLine.arguments.dropFirst().map { UInt64($0) }
        guard arguments.count <= 2, !arguments.contains(nil) else {
            print("usage: fuzz-wire [inputs for each family, default 100000] [number of the first input, default 1]")
            return
        }
        let inputs = Int(arguments.first.flatMap(\.self) ?? 100_000)
        var total = 0
        for target in try FuzzTarget.wire() {
            let report = try FuzzDriver.run(
                target,
                .inputs(inputs),
                seed: arguments.dropFirst().first.flatMap(\.self) ?? 1
            )
            print(report)
            total += report.inputs
        }
        print("fuzz: \(total) inputs in total, nothing found")
    }
}
