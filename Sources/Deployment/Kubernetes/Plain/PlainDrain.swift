/// How a pod goes: out of the Services first, then its requests end, then it.
enum PlainDrain {
    /// Seconds until everybody who sends requests knows that a pod goes; endpoints reach kube-proxy and watchers in less.
    private static let notice = 5

    /// Seconds that a program needs for its end once its requests have ended or been given up.
    private static let ending = 2

    /// Seconds that a pod keeps on before it is asked to end; nil: none.
    ///
    /// A frontend's clients come through a Service. Workers leave discovery themselves when they are asked to end, before they refuse
    /// anything; with discovery through the API server they have left it when their pod begins to end, and requests that were already
    /// on their way arrive meanwhile.
    static func sleep(of process: ClusterProcess, _ plan: ClusterPlan) -> Int? {
        switch process.role {
        case .frontend: self.notice
        case .router, .worker: plan.discovery == .kubernetes ? self.notice : nil
        case .infrastructure: nil
        }
    }

    /// Seconds from the beginning of the end until the pod is killed.
    static func termination(of process: ClusterProcess, _ plan: ClusterPlan) -> Int {
        (self.sleep(of: process, plan) ?? 0) + max(1, PlainProbes.seconds(process.stop.grace))
    }

    /// What the programs themselves wait for their requests: nearly as long as the manifest's grace, after which they are killed.
    ///
    /// Dynamo's frontends wait 5 s by themselves and its runtime 900 s; the names are in the libraries of 1.2.1 and 1.6.1.
    static func variables(of process: ClusterProcess, _ plan: ClusterPlan) -> [ClusterVariable] {
        let seconds = max(1, PlainProbes.seconds(process.stop.grace))
        let grace = String(max(1, seconds - Self.ending))
        let names: [String]
        switch (process.program, process.role) {
        case (.ours, _): names = ["DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS"]
        case (.dynamo, .frontend):
            names = ["DYN_HTTP_GRACEFUL_SHUTDOWN_TIMEOUT_SECS", "DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS"]
        case (.dynamo, _):
            names = ["DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT", "DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS"]
        case (.foreign, _): names = []
        }
        let given = Set(plan.shared.map(\.name))
        return names.filter { !given.contains($0) }.map { ClusterVariable(name: $0, value: .text(grace)) }
    }
}
