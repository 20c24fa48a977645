import ArgumentParser
import Deployment

/// What `generate` says of a manifest's keys, and whether a loss stops it.
struct FidelityOptions: ParsableArguments {
    @Flag(help: "Say of every key what becomes of it, not only of those that are approximated or lost.")
    var report = false

    @Flag(help: "Write nothing, and exit with 1, when a key of the manifest is lost.")
    var strict = false

    /// Prints the report, on standard error: standard output is for the files.
    ///
    /// - Parameters:
    ///   - manifest: as it was read.
    ///   - target: what is about to be written.
    ///   - facts: what is known beside the manifest.
    /// - Throws: `ExitCode` when that must not be.
    func tell(
        _ manifest: Manifest,
        for target: FidelityReport.Target,
        _ facts: FidelityReport.Facts
    ) throws(ExitCode) {
        let report = FidelityReport(manifest, for: target, facts)
        for line in report.lines(isWhole: self.report) { Terminal.printError(line) }
        guard self.strict, report.hasLosses else { return }
        Terminal.printError("nothing was written, because of --strict")
        throw ExitCode(1)
    }
}
