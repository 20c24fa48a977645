internal import Deployment

/// A port of a replica that somebody else has.
struct TakenPort: Sendable, Hashable {
    var replica: String
    var port: PortPlan
    /// Which of its numbers.
    var number: Int
    /// Where the process stands in the manifest.
    var origin: String?
    /// nil: it may not be seen.
    var holder: PortHolder?
    /// Whether somebody listens; one that only has bound the port is not to be found.
    var isListening = true

    private var who: String {
        self.holder?.words
            ?? (self.isListening ? "a process that this user may not see" : "a process that does not listen on it yet")
    }

    /// Why the replica cannot be started.
    var words: String {
        "\(self.replica): port \(self.number) (\(self.port.name)) is already in use by \(self.who); "
            + "stop it, or give \(self.replica) another port"
    }

    /// Its own port turned out to be taken, and another one is there.
    func words(renewed port: Int) -> String {
        let last = self.port.block.map { " to \(port + $0 - 1)" } ?? ""
        return "port \(self.number) (\(self.port.name)) is taken by \(self.who); it gets \(port)\(last)"
    }

    /// Its own port turned out to be taken, and the manifest says that it is this one.
    var fixedWords: String {
        let place = self.origin.map { " (\($0))" } ?? ""
        return
            "\(self.replica): port \(self.number) (\(self.port.name)), which it is given and which is not changed, is taken by "
            + "\(self.who); stop that, or write another number or 'auto'\(place)"
    }
}

/// A port that a program could not have, for which there shall be another one.
package struct PortRenewal: Sendable, Hashable {
    package var process: String
    package var index: Int
    /// The manifest's name of the port.
    package var name: String
    /// What it was.
    package var port: Int
}
