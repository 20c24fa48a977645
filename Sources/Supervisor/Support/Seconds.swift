extension Duration {
    var inSeconds: Double {
        let (seconds, attoseconds) = self.components
        return Double(seconds) + Double(attoseconds) * 1e-18
    }
}

extension Double {
    /// Without a fraction when there is none: `10`, `2.5`.
    var shortWords: String {
        self == self.rounded() && abs(self) < 1e15 ? "\(Int(self))" : "\((self * 100).rounded() / 100)"
    }
}
