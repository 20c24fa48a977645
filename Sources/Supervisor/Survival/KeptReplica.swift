internal import CProcess
internal import Deployment
internal import FoundationEssentials
internal import Glibc

/// What the keeper keeps with the process of a replica: all that the next launcher has to know of it.
///
/// There is no other place that says what runs, so that none can say something else.
struct KeptReplica: Sendable, Hashable, Codable {
    /// What the process was started from.
    var replica: ReplicaPlan
    /// The number of the process among those of the replica.
    var run: Int
    /// How often the replica was started again.
    var restarts: Int
    /// How many of these a person had asked for; nil: as much as none.
    var restartsAskedFor: Int?
    /// Seconds since 1970.
    var startedAt: Double
}

/// How far a replica's process is, as the keeper remembers it with the process.
struct KeptNote: Sendable, Hashable {
    private(set) var rawValue: UInt64

    init(rawValue: UInt64 = 0) { self.rawValue = rawValue }

    /// A person has stopped the replica.
    var isHalted: Bool {
        get { self.has(0) }
        set { self.set(0, newValue) }
    }

    /// It was told to end.
    var isEnding: Bool {
        get { self.has(1) }
        set { self.set(1, newValue) }
    }

    /// It said that it is ready, to this launcher or to the keeper.
    var isNotified: Bool {
        get { self.has(2) || self.rawValue & (1 << 63) != 0 }
        set { self.set(2, newValue) }
    }

    /// It, or a process of the replica before it, was ready.
    var wasReady: Bool {
        get { self.has(3) }
        set { self.set(3, newValue) }
    }

    /// The layers whose line it has written.
    var matched: Set<Int> {
        get { Set((0..<Self.layers).filter { self.has($0 + Self.firstLayer) }) }
        set { for layer in 0..<Self.layers { self.set(layer + Self.firstLayer, newValue.contains(layer)) } }
    }

    private static let firstLayer = 8
    /// More than a replica can have.
    private static let layers = 48

    private func has(_ bit: Int) -> Bool { self.rawValue & (1 << UInt64(bit)) != 0 }

    private mutating func set(_ bit: Int, _ isSet: Bool) {
        if isSet { self.rawValue |= 1 << UInt64(bit) } else { self.rawValue &= ~(1 << UInt64(bit)) }
    }
}

/// A small file in memory that holds a value, for the keeper to keep.
enum KeptFile {
    /// Makes one.
    ///
    /// - Throws: `KeptFileError` when there is no memory or no descriptor for it.
    static func make(_ value: some Encodable) throws(KeptFileError) -> Int32 {
        guard let bytes = try? JSONEncoder().encode(value) else { throw KeptFileError(errno: EINVAL) }
        let descriptor = dynamo_memory_file()
        guard descriptor >= 0 else { throw KeptFileError(errno: errno) }
        let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard count == bytes.count else {
            close(descriptor)
            throw KeptFileError(errno: count < 0 ? errno : ENOSPC)
        }
        return descriptor
    }

    static func read<Value: Decodable>(_ type: Value.Type, from descriptor: Int32) -> Value? {
        let size = Int(lseek(descriptor, 0, SEEK_END))
        guard size > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: size)
        guard pread(descriptor, &bytes, size, 0) == size else { return nil }
        return try? JSONDecoder().decode(type, from: Data(bytes))
    }
}

/// What the next launcher would need could not be written down.
struct KeptFileError: Error, CustomStringConvertible {
    var errno: Int32
    var description: String { "cannot keep what 'survive: true' needs of it: \(errorText(self.errno))" }
}
