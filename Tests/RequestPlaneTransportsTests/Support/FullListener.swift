#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A port on loopback whose backlog is full until the test says otherwise: Linux drops what more comes.
final class FullListener {
    let port: Int
    private let listening: CInt
    private let filler: CInt

    struct Failed: Error {
        let call: String
        let code: CInt
    }

    init() throws {
        self.listening = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        self.filler = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (listening, filler) = (self.listening, self.filler)
        let outcome = withUnsafeMutableBytes(of: &address) { bytes -> (call: String, isDone: Bool) in
            guard let address = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return ("", false) }
            if bind(listening, address, length) != 0 { return ("bind", false) }
            if getsockname(listening, address, &length) != 0 { return ("getsockname", false) }
            if listen(listening, 0) != 0 { return ("listen", false) }
            // The one place of a backlog of 0.
            return ("connect", connect(filler, address, length) == 0)
        }
        self.port = Int(UInt16(bigEndian: address.sin_port))
        guard outcome.isDone else { throw Failed(call: outcome.call, code: errno) }
    }

    /// Takes connections from now on: the one that filled the backlog at once.
    func takeOne() throws {
        let accepted = accept(self.listening, nil, nil)
        guard accepted >= 0 else { throw Failed(call: "accept", code: errno) }
        close(accepted)
    }

    /// The local ports from which connections to it are being attempted at this moment.
    func attempts() throws -> Set<Substring> {
        let table = try self.connectionTable()
        let target = "0100007F:" + String(repeating: "0", count: 4 - self.hexPort.count) + self.hexPort
        let sent: Substring = "02"
        return Set(
            table.split(separator: "\n").map { $0.split(separator: " ") }
                .filter { $0.count > 3 && $0[2] == target && $0[3] == sent }
                .map { $0[1] }
        )
    }

    /// The kernel gives this file out in pieces; Foundation stops after the first.
    private func connectionTable() throws -> String {
        let file = open("/proc/net/tcp", O_RDONLY)
        guard file >= 0 else { throw Failed(call: "open", code: errno) }
        defer { close(file) }
        var bytes: [UInt8] = []
        while true {
            let piece = [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, count in
                count = max(0, read(file, buffer.baseAddress, buffer.count))
            }
            if piece.isEmpty { return String(decoding: bytes, as: UTF8.self) }
            bytes += piece
        }
    }

    private var hexPort: String { String(self.port, radix: 16, uppercase: true) }

    deinit {
        close(self.filler)
        close(self.listening)
    }
}
