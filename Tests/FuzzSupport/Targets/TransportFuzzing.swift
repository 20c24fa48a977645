// What the transports add to the wire.

extension FuzzTarget {
    /// Every family of a single transport.
    ///
    /// - Returns: the targets, each for a run of its own.
    package static func transports() -> [FuzzTarget] {
        [
            FuzzTarget("NATS headers", seeds: NATSHeaderFuzzing.seeds, check: NATSHeaderFuzzing.headers),
            FuzzTarget("TCP pool", seeds: TCPPoolFuzzing.seeds, check: TCPPoolFuzzing.operations),
        ]
    }
}
