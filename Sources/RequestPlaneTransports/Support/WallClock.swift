#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// The time of day, for headers that other machines read.
enum WallClock {
    /// Nanoseconds since the epoch, decimal.
    static func nanoseconds() -> String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return String(Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }
}
