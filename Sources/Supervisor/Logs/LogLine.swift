/// A line that a replica wrote.
package struct LogLine: Sendable, Hashable {
    package enum Stream: String, Sendable, Hashable, Codable {
        case stdout, stderr
    }

    /// The manifest's name of the process.
    package var process: String
    package var replica: String
    /// Of the deployment.
    package var generation: Int
    /// Of the replica's process; nil where it is not known, as in files.
    package var pid: Int32?
    package var stream: Stream
    package var time: LogTime
    package var text: String
    /// The line goes on in the next one: it was too long for one.
    package var isPartial: Bool

    package init(
        process: String,
        replica: String,
        generation: Int = 1,
        pid: Int32? = nil,
        stream: Stream,
        time: LogTime,
        text: String,
        isPartial: Bool = false
    ) {
        self.process = process
        self.replica = replica
        self.generation = generation
        self.pid = pid
        self.stream = stream
        self.time = time
        self.text = text
        self.isPartial = isPartial
    }
}

/// How a replica is called where those of several generations may stand together.
package enum ReplicaLabel {
    /// `worker-0`, and `g2/worker-0` in the second generation.
    package static func text(_ replica: String, generation: Int) -> String {
        generation == 1 ? replica : "g\(generation)/\(replica)"
    }
}

/// Receives every line, on the thread that reads the pipes: slow receivers slow the processes down, not the supervision.
package typealias LogSink = @Sendable (LogLine) -> Void
