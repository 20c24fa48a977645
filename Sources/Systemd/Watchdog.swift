internal import CSystemd
internal import Glibc

/// What the service manager asks for with `WatchdogSec=`: a sign of life within each interval, else it restarts the service.
package struct Watchdog: Sendable, Hashable {
    /// A sign of life must come within this time.
    package var interval: Duration

    package init(interval: Duration) { self.interval = interval }

    /// How often to give one: twice in an interval, as `sd_watchdog_enabled(3)` advises.
    package var period: Duration { self.interval / 2 }

    /// Takes the wish out of the environment, so that programs that this process starts do not believe it to be theirs.
    ///
    /// To be called before other threads read the environment.
    ///
    /// - Returns: the wish; nil when there is none for this process.
    /// - Throws: `SystemdError` when `WATCHDOG_USEC` or `WATCHDOG_PID` has a value that a service manager never sets.
    package static func take() throws(SystemdError) -> Watchdog? {
        let shown = ServiceEnvironment.excerpt("WATCHDOG_USEC", "WATCHDOG_PID")
        var microseconds: UInt64 = 0
        let result = sd_watchdog_enabled(1, &microseconds)
        guard result >= 0 else {
            throw SystemdError(
                .badVariable,
                "the environment has \(shown), which no service manager sets (\(String(cString: strerror(-result)))): "
                    + "unset both, or start through systemd with WatchdogSec="
            )
        }
        guard result > 0 else { return nil }
        return Watchdog(interval: .microseconds(Int64(clamping: microseconds)))
    }
}
