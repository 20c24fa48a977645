import Foundation

/// Reads metrics as Prometheus does, with the parser of its own client for Python.
package enum PrometheusReader {
    /// What a text says.
    package struct Metrics: Sendable, Decodable {
        package struct Sample: Sendable, Decodable {
            package var name: String
            package var labels: [String: String]
            package var value: Double
        }

        /// The kind of each family, by its name.
        package var kinds: [String: String]
        package var samples: [Sample]

        /// The value of a sample that has these labels, and maybe others.
        package func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
            self.samples.first { sample in
                sample.name == name && labels.allSatisfy { sample.labels[$0.key] == $0.value }
            }?.value
        }
    }

    /// The parser refused a text.
    package struct Refused: Error, CustomStringConvertible {
        package let description: String
    }

    private static let script = """
        import json, sys
        from prometheus_client.parser import text_string_to_metric_families
        kinds, samples, seen = {}, [], set()
        for family in text_string_to_metric_families(open(sys.argv[1], newline="").read()):
            assert family.name not in kinds, "twice: " + family.name
            assert family.documentation and family.type != "unknown", "no help or type: " + family.name
            kinds[family.name] = family.type
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                assert key not in seen, "twice: " + str(key)
                seen.add(key)
                samples.append({"name": sample.name, "labels": sample.labels, "value": sample.value})
        print(json.dumps({"kinds": kinds, "samples": samples}))
        """

    /// Reads a text.
    ///
    /// - Parameter text: what was served.
    /// - Returns: its families and samples.
    /// - Throws: `Refused` with what the parser said.
    package static func read(_ text: String) async throws -> Metrics {
        let python = try TestEnvironment.python(.v121)
        return try await withTemporaryDirectory { folder in
            let file = folder.appending(path: "metrics.txt")
            try Data(text.utf8).write(to: file)
            let arguments = ["-c", Self.script, file.path()]
            let (output, exit) = try await withProgram(python, arguments) { program in
                try await program.waitForExit(within: .seconds(20))
                return program.output
            }
            guard exit == .code(0) else { throw Refused(description: "\(output)\n\(text)") }
            return try JSONDecoder().decode(Metrics.self, from: Data(output.utf8))
        }
    }
}
