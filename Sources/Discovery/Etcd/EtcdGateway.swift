import AsyncHTTPClient
import FoundationEssentials
import NIOCore
import NIOHTTP1

/// The calls of etcd's JSON gateway (`/v3/...`) that discovery needs.
///
/// Keys and values travel in base64, numbers as strings.
struct EtcdGateway: Sendable {
    /// A key with its value; no value means that the key was deleted.
    struct Change: Sendable, Hashable {
        var key: String
        var value: [UInt8]?
    }

    private static let timeout: TimeAmount = .seconds(5)

    /// URLs of the cluster's members; tried in order until one answers.
    let endpoints: [String]
    private let client = HTTPClient.shared

    init(endpoints: [String]) {
        self.endpoints = endpoints.map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 }
    }

    /// Asks for a lease.
    func grantLease(seconds: Int) async throws(DiscoveryError) -> UInt64 {
        let answer = try await self.call("/v3/lease/grant", ["TTL": .string(String(seconds))])
        guard let id = answer["ID"]?.string.flatMap(Int64.init) else {
            throw self.unexpected("/v3/lease/grant", answer)
        }
        return UInt64(bitPattern: id)
    }

    /// Renews a lease.
    ///
    /// - Returns: false if it has run out.
    func keepAlive(lease: UInt64) async throws(DiscoveryError) -> Bool {
        let answer = try await self.call("/v3/lease/keepalive", ["ID": .string(String(Int64(bitPattern: lease)))])
        return (answer["result"]?["TTL"]?.string.flatMap(Int.init) ?? 0) > 0
    }

    func revoke(lease: UInt64) async throws(DiscoveryError) {
        _ = try await self.call("/v3/lease/revoke", ["ID": .string(String(Int64(bitPattern: lease)))])
    }

    func put(_ key: String, _ value: [UInt8], lease: UInt64) async throws(DiscoveryError) {
        let body: JSONValue = [
            "key": .string(Self.base64(key)),
            "value": .string(Data(value).base64EncodedString()),
            "lease": .string(String(Int64(bitPattern: lease))),
        ]
        _ = try await self.call("/v3/kv/put", body)
    }

    func delete(_ key: String) async throws(DiscoveryError) {
        _ = try await self.call("/v3/kv/deleterange", ["key": .string(Self.base64(key))])
    }

    /// All keys that begin with a prefix, and the revision of the store that they belong to.
    func range(prefix: String) async throws(DiscoveryError) -> (entries: [Change], revision: Int64) {
        let answer = try await self.call("/v3/kv/range", Self.rangeBody(prefix))
        let revision = answer["header"]?["revision"]?.string.flatMap(Int64.init) ?? 0
        return ((answer["kvs"]?.array ?? []).compactMap(Self.change), revision)
    }

    /// Reports changes under a prefix from a revision on, until cancelled or the connection breaks.
    func watch(
        prefix: String,
        from revision: Int64,
        onChanges: ([Change]) async -> Void
    ) async throws {
        guard case .object(var create) = Self.rangeBody(prefix) else { return }
        create["start_revision"] = .string(String(revision))
        let body: JSONValue = ["create_request": .object(create)]
        var lastError: any Error = DiscoveryError(.invalidConfiguration, "no etcd endpoint is configured")
        for endpoint in self.endpoints {
            do {
                // Without a deadline: the answer lasts as long as the watch.
                let response = try await self.client.execute(
                    Self.request(endpoint, "/v3/watch", body),
                    deadline: .distantFuture
                )
                guard response.status == .ok else { throw self.refused("/v3/watch", response.status, "") }
                var line: [UInt8] = []
                for try await var chunk in response.body {
                    while let byte: UInt8 = chunk.readInteger() {
                        if byte == UInt8(ascii: "\n") {
                            try await onChanges(self.changes(line))
                            line = []
                        } else {
                            line.append(byte)
                        }
                    }
                }
                return
            } catch { lastError = error }
        }
        throw lastError
    }

    private func changes(_ line: [UInt8]) throws -> [Change] {
        let answer = try JSONValue(parsing: line)
        if answer["result"]?["canceled"]?.bool == true || answer["error"] != nil {
            throw self.unexpected("/v3/watch", answer)
        }
        return (answer["result"]?["events"]?.array ?? []).compactMap { event in
            guard let entry = event["kv"], var change = Self.change(entry) else { return nil }
            if event["type"]?.string == "DELETE" {
                change.value = nil
            } else if change.value == nil {
                change.value = []
            }
            return change
        }
    }

    // MARK: Calls

    private func call(_ path: String, _ body: JSONValue) async throws(DiscoveryError) -> JSONValue {
        var lastError = DiscoveryError(.invalidConfiguration, "no etcd endpoint is configured")
        for endpoint in self.endpoints {
            do {
                let response = try await self.client.execute(Self.request(endpoint, path, body), timeout: Self.timeout)
                let content = try await response.body.collect(upTo: 64 << 20)
                let answer = try JSONValue(parsing: content)
                guard response.status == .ok else {
                    throw self.refused(path, response.status, answer["error"]?.string ?? answer.text)
                }
                return answer
            } catch let error as DiscoveryError {
                throw error
            } catch {
                lastError = DiscoveryError(
                    .storeUnavailable,
                    "etcd at \(endpoint) does not answer \(path)",
                    cause: error
                )
            }
        }
        throw lastError
    }

    private static func request(_ endpoint: String, _ path: String, _ body: JSONValue) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: endpoint + path)
        request.method = .POST
        request.headers.add(name: "content-type", value: "application/json")
        request.body = .bytes(body.buffer)
        return request
    }

    private func refused(_ path: String, _ status: HTTPResponseStatus, _ text: String) -> DiscoveryError {
        DiscoveryError(.storeUnavailable, "etcd refused \(path): \(status.code) \(text)")
    }

    private func unexpected(_ path: String, _ answer: JSONValue) -> DiscoveryError {
        DiscoveryError(.storeUnavailable, "etcd answered \(path) with \(answer.text)")
    }

    private static func rangeBody(_ prefix: String) -> JSONValue {
        // The end of a prefix's range: its last byte plus one.
        var end = Array(prefix.utf8)
        if let last = end.popLast() { end.append(last + 1) }
        return ["key": .string(Self.base64(prefix)), "range_end": .string(Data(end).base64EncodedString())]
    }

    private static func change(_ entry: JSONValue) -> Change? {
        guard let key = entry["key"]?.string.flatMap({ Data(base64Encoded: $0) }) else { return nil }
        let value = entry["value"]?.string.flatMap { Data(base64Encoded: $0) }
        return Change(key: String(decoding: key, as: UTF8.self), value: value.map(Array.init))
    }

    private static func base64(_ text: String) -> String { Data(text.utf8).base64EncodedString() }
}
