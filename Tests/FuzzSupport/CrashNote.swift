internal import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Names the input that was being decoded, on standard error, when the process traps.
enum CrashNote {
    private static let seed = Atomic<UInt64>(0)
    private static let signals = [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT]
    /// What stood there before, by number.
    ///
    /// Unsafe because a signal handler cannot take a lock; targets run one at a time.
    nonisolated(unsafe) private static let previous = UnsafeMutablePointer<sigaction>.allocate(capacity: 64)

    static func begin() {
        self.seed.store(0, ordering: .relaxed)
        for number in self.signals {
            sigaction(number, nil, self.previous + Int(number))
            _ = signal(number) { CrashNote.write($0) }
            // On a stack of its own where there is one, so that an exhausted stack is reported too.
            var action = sigaction()
            sigaction(number, nil, &action)
            action.sa_flags |= SA_ONSTACK
            sigaction(number, &action, nil)
        }
    }

    static func seed(_ value: UInt64) { self.seed.store(value, ordering: .relaxed) }

    static func end() { for number in self.signals { self.restore(number) } }

    private static func restore(_ number: Int32) { sigaction(number, self.previous + Int(number), nil) }

    /// Runs in a signal handler: no memory is taken.
    private static func write(_ number: Int32) {
        self.put("\nfuzz: trapped; again with DYNAMO_FUZZ_SEED=")
        var divisor: UInt64 = 10_000_000_000_000_000_000
        let value = self.seed.load(ordering: .relaxed)
        var hasBegun = false
        while divisor > 0 {
            var digit = UInt8(ascii: "0") + UInt8(value / divisor % 10)
            hasBegun = hasBegun || digit != UInt8(ascii: "0") || divisor == 1
            if hasBegun { _ = systemWrite(2, &digit, 1) }
            divisor /= 10
        }
        self.put("\n")
        // Returning runs the faulty instruction again, into the handler that was there before.
        self.restore(number)
        if number == SIGABRT { _ = raise(number) }
    }

    private static func put(_ text: StaticString) { _ = systemWrite(2, text.utf8Start, text.utf8CodeUnitCount) }
}

/// `write(2)`, under a name that the note's own function does not hide.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
    write(descriptor, bytes, count)
}
