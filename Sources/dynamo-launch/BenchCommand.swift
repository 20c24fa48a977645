import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc
import LoadTest
import Logging
import RequestPlaneTransports

/// `bench`: puts a load on running deployments and prints what they do with it.
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure a running deployment, compare several, or compare the request planes.",
        discussion: """
            Targets are measured in alternating rounds, so that what disturbs the machine disturbs all of them alike; ratios are \
            the median over the rounds. The load comes from this machine and takes its share of it.

            Examples:
              dynamo-launch bench                         the deployment that runs here
              dynamo-launch bench http://10.0.0.5:8000    any OpenAI-compatible server
              dynamo-launch bench mine --against http://127.0.0.1:9000
              dynamo-launch bench --endpoint backend.generate
              dynamo-launch bench --all-planes --chart planes.svg
            """
    )

    @Argument(help: "A deployment's name or a URL; not needed when only one deployment runs.")
    var target: String?

    @Option(help: ArgumentHelp("Compare with this deployment or URL; may be given several times.", valueName: "target"))
    var against: [String] = []

    @Flag(help: "Start the manifest on tcp, http and nats side by side, and compare the planes.")
    var allPlanes = false

    @Option(
        help: ArgumentHelp("With --all-planes: the manifest; default: as for 'up'.", valueName: "file"),
        completion: .file(extensions: ["yaml", "yml"])
    )
    var manifest: String?

    @Option(
        help: ArgumentHelp(
            "Call this endpoint of the deployment on its request plane, past the frontend.",
            valueName: "component.endpoint"
        )
    )
    var endpoint: String?

    @Option(help: "The model to ask; default: the first one that the target lists.")
    var model: String?

    @Option(help: "Requests in flight at any moment.")
    var concurrency = 32

    @Option(help: "Requests in each round; default: as many as --duration allows.")
    var requests: Int?

    @Option(help: ArgumentHelp("The length of a round, unless --requests is given.", valueName: "seconds"))
    var duration = 10.0

    @Option(help: "Rounds for each target.")
    var rounds = 3

    @Option(help: "Tokens of each answer (max_tokens).")
    var tokens = 64

    @Option(help: "Words in each prompt; default: as many as tokens.")
    var promptWords: Int?

    @Flag(inversion: .prefixedNo, help: "Stream the answers.")
    var stream = true

    @Flag(help: "Print JSON.")
    var json = false

    @Option(
        help: ArgumentHelp("Also draw the comparison (SVG).", valueName: "file"),
        completion: .file(extensions: ["svg"])
    )
    var chart: String?

    func validate() throws {
        let positive = [
            ("--concurrency", self.concurrency), ("--rounds", self.rounds), ("--tokens", self.tokens),
            ("--requests", self.requests ?? 1), ("--prompt-words", self.promptWords ?? 1),
        ]
        for (name, value) in positive where value < 1 { throw ValidationError("\(name) takes a number above 0") }
        if !(self.duration > 0 && self.duration <= 86_400) {
            throw ValidationError("--duration takes seconds, above 0 and up to 86400")
        }
        if self.allPlanes, self.target != nil || !self.against.isEmpty || self.endpoint != nil {
            throw ValidationError("--all-planes starts its own deployments: give no target, --against or --endpoint")
        }
        if self.manifest != nil, !self.allPlanes {
            throw ValidationError("--manifest belongs to --all-planes; to measure what runs, name the deployment")
        }
    }

    private var shape: LoadShape {
        LoadShape(
            concurrency: self.concurrency,
            extent: self.requests.map { .requests($0) } ?? .duration(.seconds(self.duration)),
            tokens: self.tokens,
            promptWords: self.promptWords ?? self.tokens,
            isStreamed: self.stream
        )
    }

    func run() async throws {
        if self.allPlanes {
            let deployments = PlaneDeployments(manifest: self.manifest)
            try await deployments.whileRunning { names in
                var targets: [MeasuredTarget] = []
                for (plane, name) in names {
                    var target = try await BenchTargets.deployment(name, model: self.model)
                    target.label = plane
                    targets.append(target)
                }
                try await self.measure(targets, title: "Request planes")
            }
            return
        }
        let names = [self.target] + self.against.map(Optional.some)
        guard let endpoint else {
            var targets: [MeasuredTarget] = []
            for name in names { targets.append(try await BenchTargets.resolve(name, model: self.model)) }
            return try await self.measure(targets, title: targets.map(\.label).joined(separator: ", "))
        }
        try await BenchTargets.endpoint(endpoint, of: names, model: self.model) { targets in
            try await self.measure(targets, title: "\(endpoint) on the request plane")
        }
    }

    private func measure(_ targets: [MeasuredTarget], title: String) async throws {
        let shape = self.shape
        var warmUp = shape
        warmUp.extent = .requests(max(20, shape.concurrency))
        let comparison = await Comparison(
            measuring: targets,
            with: shape,
            warmUp: warmUp,
            rounds: self.rounds,
            progress: { if !self.json { Terminal.printError($0) } }
        )
        if self.json {
            Terminal.print(try JSONText.pretty(BenchReport(comparison, shape: shape)))
        } else {
            let unit = shape.isStreamed ? "streamed" : "not streamed"
            Terminal.print(
                "\(shape.concurrency) at once, \(shape.tokens) tokens, \(unit), \(self.rounds) rounds, chat completions"
            )
            for line in ComparisonTable(comparison).lines { Terminal.print(line) }
        }
        if let chart {
            do {
                try Data(ComparisonChart(comparison, title: title).svg.utf8).write(to: URL(filePath: chart))
                if !self.json { Terminal.print("chart: \(chart)") }
            } catch {
                throw RunningDeployment.failure("error: the chart cannot be written to \(chart): \(error)")
            }
        }
        // Figures that are mostly about failures are no figures.
        if comparison.columns.contains(where: { $0.total.completed == 0 }) { throw ExitCode(1) }
    }
}
