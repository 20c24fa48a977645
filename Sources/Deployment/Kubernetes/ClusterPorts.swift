/// The ports of pods: fixed, since every pod has an address of its own and policies have to name them.
package enum ClusterPorts {
    /// The OpenAI interface of a frontend; Dynamo's own number.
    package static let http = 8000
    /// Health and metrics of a worker; the number of Dynamo's operator.
    package static let system = 9090
    /// Requests of the planes `tcp` and `http`.
    package static let request = 9345
    /// Answers, for which workers call home.
    package static let response = 9346
    /// The first of the ports that the manifest leaves open for purposes of its own.
    static let others = 9400
    /// From which the system picks ports that a program does not name, such as ZeroMQ's of the event plane.
    package static let ephemeral = 32768...60999
    package static let nats = 4222
    package static let etcd = 2379
}
