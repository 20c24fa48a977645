import Testing

@testable import Supervisor

/// What programs write when a port is somebody else's.
@Suite struct AddressInUseTests {
    /// Lines as programs wrote them.
    private static let lines: [(line: String, port: Int?)] = [
        // uvicorn, which vLLM and SGLang serve with
        (
            "ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8081): address already in use",
            8081
        ),
        // Python's socket, also in vLLM
        ("OSError: [Errno 98] Address already in use", nil),
        // pyzmq, vLLM's KV events and NIXL side channel
        ("zmq.error.ZMQError: Address already in use (addr='tcp://*:20080')", 20080),
        // Dynamo's runtime and other programs in Rust
        ("Error: Address already in use (os error 98)", nil),
        (
            #"2026-01-02T03:04:05.678901Z ERROR dynamo_runtime: Failed to bind to 0.0.0.0:8081: Os { code: 98, kind: AddrInUse, message: "Address already in use" }"#,
            8081
        ),
        // PyTorch
        (
            "The server socket has failed to listen on any local network address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use",
            29500
        ),
        // nats-server
        (
            #"[4711] 2026/01/02 03:04:05.678901 [FTL] Error listening on port: 0.0.0.0:4222, "listen tcp 0.0.0.0:4222: bind: address already in use""#,
            4222
        ),
        // etcd
        (
            #"{"level":"fatal","msg":"discovery failed","error":"listen tcp 127.0.0.1:2379: bind: address already in use"}"#,
            2379
        ),
        // Node.js
        ("Error: listen EADDRINUSE: address already in use :::8000", 8000),
        // the programs that come with the launcher
        ("bind(descriptor:ptr:bytes:): Address already in use (errno: 98)", nil),
        // gunicorn
        ("[2026-01-02 03:04:05 +0000] [7] [ERROR] Connection in use: ('0.0.0.0', 8000)", 8000),
        ("Port 30000 is already in use, choose another", 30000),
    ]

    @Test func `they are known`() {
        for (line, port) in Self.lines {
            let found = AddressInUse(line: line)
            #expect(found != nil, "\(line)")
            if let port { #expect(found?.numbers.contains(port) == true, "\(line)") }
        }
    }

    @Test(arguments: [
        "OSError: [Errno 111] Connection refused", "os error 987", "bound to 0.0.0.0:8081", "errno: 980 of 1000",
        "GPU 0 is already in use by another context", "listening on port 8081", "",
    ])
    func `others are not`(_ line: String) {
        #expect(AddressInUse(line: line) == nil)
    }

    @Test func `a port that is named is the only one`() {
        let own = [8081, 20080]
        let uvicorn = "[Errno 98] error while attempting to bind on address ('0.0.0.0', 8081): address already in use"
        #expect(AddressInUse.ports(in: ["starting on 20080", uvicorn], of: own) == [8081])
        #expect(AddressInUse.ports(in: ["Address already in use (os error 98)"], of: own) == own)
        #expect(AddressInUse.ports(in: ["8081 is fine"], of: own) == [])
    }
}
