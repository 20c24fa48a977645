/// Why a request failed, as the state machines say it: comparable, and turned into a `RequestPlaneError` at the border.
package struct PlaneFailure: Error, Hashable, Sendable {
    package var code: RequestPlaneError.Code
    package var message: String

    package init(_ code: RequestPlaneError.Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var error: RequestPlaneError { RequestPlaneError(self.code, self.message) }
}
