/// A process that SIGKILL did not end, such as one that waits for a device that does not answer.
package struct Survivor: Sendable, Hashable, Codable, CustomStringConvertible {
    /// The replica that it is, or that it was started by.
    package var replica: String
    package var pid: Int32
    package var command: String
    /// MiB that it holds of GPUs, where that is known.
    package var gpuMemory: Int?

    /// In words: `worker (pid 12: python3 -m dynamo.vllm), which holds 20480 MiB of GPU memory`.
    package var description: String {
        "\(self.replica) (pid \(self.pid): \(self.command))"
            + (self.gpuMemory.map { ", which holds \($0) MiB of GPU memory" } ?? "")
    }
}
