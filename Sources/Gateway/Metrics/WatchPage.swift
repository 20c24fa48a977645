/// What programs that watch the launcher can ask for.
package enum WatchPage: String, Sendable, Hashable, CaseIterable {
    case metrics = "/metrics"
    case live = "/live"
    case ready = "/ready"
}

/// An answer to one of them.
package struct WatchAnswer: Sendable, Hashable {
    package var status: Int
    package var contentType: String
    package var text: String

    package init(status: Int = 200, contentType: String, text: String) {
        self.status = status
        self.contentType = contentType
        self.text = text
    }

    /// In the text format of Prometheus.
    package static func metrics(_ text: String) -> Self {
        Self(contentType: "text/plain; version=0.0.4; charset=utf-8", text: text)
    }

    /// 200, or 503 when what was asked is not so.
    package static func json(_ isTrue: Bool, _ text: String) -> Self {
        Self(status: isTrue ? 200 : 503, contentType: "application/json", text: text)
    }
}
