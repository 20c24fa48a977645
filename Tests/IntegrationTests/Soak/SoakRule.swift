/// Which requests may fail in a soak, and how.
enum SoakRule {
    /// Whether a failed request is explained by something that was done.
    ///
    /// A process that is killed takes the requests with it that it had. Those of a worker are answered with an error, whole or as the last
    /// event of a stream, and only those to its model; those of a frontend with an error by the gateway, or they are cut in the middle. A
    /// server of the request plane takes what is on its way, and until everybody is connected to it again nothing can be sent. Nobody is sent to
    /// a worker that was killed once the deployment is ready again: the launcher takes its instance out of discovery. Everything else
    /// that is done here, a stop for a second among it, costs no request anything but time; nor does it ever cost a request its answer, or
    /// give it another's.
    static func explains(_ request: SoakLedger.Request, _ window: SoakLedger.Window) -> Bool {
        guard request.ended >= window.began, window.ended.map({ $0 >= request.began }) ?? true else { return false }
        switch window.disturbance {
        case .killedWorker: return request.model.echoes && self.isError(request)
        case .killedMocker: return !request.model.echoes && self.isError(request)
        case .killedRequestServer: return self.isError(request)
        case .killedFrontend: return self.isLostWithFrontend(request)
        case .killedEventServer, .paused, .restarted, .scaled, .applied: return false
        }
    }

    /// Errors that say something else than that a process is lost.
    private static let otherErrors = ["model_not_ready", "model_not_found", "shutting_down", "overloaded"]

    private static func isError(_ request: SoakLedger.Request) -> Bool {
        guard !self.otherErrors.contains(where: request.text.contains) else { return false }
        switch request.answer {
        case .error(let status): return (500...504).contains(status)
        case .errorEvent: return true
        case .good, .cut, .nothing, .late, .wrong: return false
        }
    }

    private static func isLostWithFrontend(_ request: SoakLedger.Request) -> Bool {
        switch request.answer {
        case .error(502): request.text.contains("\"backend_failed\"")
        case .cut: true
        case .error, .errorEvent, .good, .nothing, .late, .wrong: false
        }
    }
}
