/// What the supervisor's loop does again and again for as long as it turns: a loop that is stuck stops doing it.
package struct Heartbeat: Sendable {
    /// From one beat to the next.
    package var period: Duration
    /// Done in the loop; must not block.
    package var beat: @Sendable () -> Void

    package init(period: Duration, beat: @escaping @Sendable () -> Void) {
        self.period = period
        self.beat = beat
    }
}
