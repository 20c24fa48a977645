import FoundationEssentials

/// The time of day, for those who read messages.
enum WallClock {
    /// Milliseconds since 1970.
    static var milliseconds: UInt64 { UInt64(max(0, Date().timeIntervalSince1970 * 1000)) }
}
