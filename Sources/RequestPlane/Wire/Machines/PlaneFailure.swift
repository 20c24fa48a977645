/// Why a request failed, as the state machines say it: comparable, and turned into a `RequestPlaneError` at the border.
package struct PlaneFailure: Error, Hashable, Sendable {
    package var code: RequestPlaneError.Code
    package var message: String

    package init(_ code: RequestPlaneError.Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var error: RequestPlaneError { RequestPlaneError(self.code, self.message) }

    /// The worker has refused a request before its answer began.
    ///
    /// - Parameters:
    ///   - text: what it said.
    ///   - typed: the same with its kind, if it gave one.
    package init(refusal text: String, _ typed: RemoteError?) {
        let code: RequestPlaneError.Code =
            switch typed?.kind {
            case .unavailable: .unavailable
            case .resourceExhausted: .overloaded
            case .cancelled: .cancelled
            default: .remote
            }
        self.init(code, "the worker refused the request: \(text)")
    }
}
