import ArgumentParser
import Glibc
import Systemd

/// How the lines of `up` look, and where they go.
enum LogFormat: String, Sendable, Hashable, CaseIterable, ExpressibleByArgument {
    case text, json, journal

    /// The format of this process.
    ///
    /// - Parameter wanted: what the command line says.
    /// - Returns: the format.
    /// - Throws: `ExitCode` after the error was printed: the journal is wanted, and there is none.
    static func chosen(_ wanted: LogFormat?) throws -> LogFormat {
        let isJournal = JournalStream.isConnected(
            STDOUT_FILENO,
            variable: getenv("JOURNAL_STREAM").map { String(cString: $0) }
        )
        guard let format = self.chosen(wanted, outputIsJournal: isJournal, journalIsThere: JournalWriter.isThere) else {
            Terminal.printError(
                "error: --log-format journal: there is no journal at \(JournalWriter.socketPath): use text or json"
            )
            throw ExitCode(1)
        }
        return format
    }

    /// The same, of what is known; nil when what is wanted cannot be.
    static func chosen(_ wanted: LogFormat?, outputIsJournal: Bool, journalIsThere: Bool) -> LogFormat? {
        switch wanted {
        case .text, .json: wanted
        case .journal: journalIsThere ? .journal : nil
        case nil: outputIsJournal && journalIsThere ? .journal : .text
        }
    }
}
