extension Duration {
    /// Whole milliseconds, rounded up, at least one.
    var milliseconds: Int64 {
        let (seconds, attoseconds) = self.components
        let fraction = (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
        return max(1, min(seconds, Int64.max / 2000) * 1000 + fraction)
    }
}
