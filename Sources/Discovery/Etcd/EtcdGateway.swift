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

    /// What one member held at one moment.
    struct Listing: Sendable {
        var entries: [Change]
        /// Of the store; counts every change.
        var revision: Int64
        /// The member, which alone can go on from this revision.
        var endpoint: String
    }

    /// Why a watch ended although nothing is wrong.
    enum WatchEnd: String, Sendable {
        case silence = "nothing has come for a while"
        case closed = "the member closed it"
        case compacted = "the history that it needed was compacted"
        case replaced = "the member's store is older than its listing"
    }

    /// The longest line of a watch, in bytes.
    private static let longestLine = 64 << 20

    private let connection: EtcdConnection

    init(_ configuration: EtcdConfiguration) { self.connection = EtcdConnection(configuration) }

    // MARK: Leases

    /// Asks for a lease.
    ///
    /// - Parameters:
    ///   - seconds: its time to live.
    ///   - id: the id that it must have; nil leaves the choice to etcd. One that exists counts as granted.
    /// - Returns: its id.
    /// - Throws: `DiscoveryError` when there is none.
    func grantLease(seconds: Int, id: UInt64? = nil) async throws(DiscoveryError) -> UInt64 {
        var body: JSONFields = ["TTL": .string(String(seconds))]
        if let id { body.append("ID", Self.lease(id)) }
        do throws(EtcdFailure) {
            let (answer, endpoint) = try await self.connection.call("/v3/lease/grant", .object(body))
            guard let id = answer["ID"]?.string.flatMap(Int64.init) else {
                throw EtcdFailure(unexpected: answer, "/v3/lease/grant", endpoint)
            }
            return UInt64(bitPattern: id)
        } catch {
            if let id, error.status == EtcdFailure.failedPrecondition { return id }
            throw error.error
        }
    }

    /// Renews a lease.
    ///
    /// - Returns: false if it has run out.
    func keepAlive(lease: UInt64) async throws(DiscoveryError) -> Bool {
        let answer = try await self.call("/v3/lease/keepalive", ["ID": Self.lease(lease)])
        return (answer["result"]?["TTL"]?.string.flatMap(Int.init) ?? 0) > 0
    }

    /// Ends a lease, and with it every key under it; one that has run out already is no error.
    func revoke(lease: UInt64) async throws(DiscoveryError) {
        do { _ = try await self.connection.call("/v3/lease/revoke", ["ID": Self.lease(lease)]) } catch {
            if error.status != EtcdFailure.notFound { throw error.error }
        }
    }

    // MARK: Keys

    /// Writes a key.
    ///
    /// - Returns: false if the lease does not exist; nothing is written then.
    func put(_ key: String, _ value: [UInt8], lease: UInt64) async throws(DiscoveryError) -> Bool {
        let body: JSONValue = [
            "key": .string(Self.base64(key)),
            "value": .string(Data(value).base64EncodedString()),
            "lease": Self.lease(lease),
        ]
        do {
            _ = try await self.connection.call("/v3/kv/put", body)
            return true
        } catch {
            if error.status == EtcdFailure.notFound { return false }
            throw error.error
        }
    }

    func delete(_ key: String) async throws(DiscoveryError) {
        _ = try await self.call("/v3/kv/deleterange", ["key": .string(Self.base64(key))])
    }

    /// All keys that begin with a prefix.
    func range(prefix: String) async throws(DiscoveryError) -> Listing {
        do throws(EtcdFailure) {
            let (answer, endpoint) = try await self.connection.call("/v3/kv/range", .object(Self.rangeBody(prefix)))
            guard let revision = Self.revision(answer) else {
                throw EtcdFailure(unexpected: answer, "/v3/kv/range", endpoint)
            }
            let entries = (answer["kvs"]?.array ?? []).compactMap(Self.change)
            return Listing(entries: entries, revision: revision, endpoint: endpoint)
        } catch { throw error.error }
    }

    private func call(_ path: String, _ body: JSONValue) async throws(DiscoveryError) -> JSONValue {
        do { return try await self.connection.call(path, body).answer } catch { throw error.error }
    }

    // MARK: The watch

    /// Reports what changes under a prefix after a listing, as the member of that listing sees it.
    ///
    /// - Parameters:
    ///   - prefix: of the keys.
    ///   - listing: what is known already.
    ///   - onChanges: called with the changes of each revision, in order.
    /// - Returns: why everything must be listed again.
    /// - Throws: `DiscoveryError` when the member does not let this process watch, or the connection broke.
    func watch(
        prefix: String,
        after listing: Listing,
        onChanges: ([Change]) -> Void
    ) async throws(DiscoveryError) -> WatchEnd {
        var create = Self.rangeBody(prefix)
        create["start_revision"] = .string(String(listing.revision + 1))
        do {
            let body = try await self.connection.open(
                "/v3/watch",
                ["create_request": .object(create)],
                at: listing.endpoint
            )
            var line: [UInt8] = []
            for try await chunk in body {
                var rest = chunk.readableBytesView
                while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                    line.append(contentsOf: rest[..<end])
                    rest = rest[(end + 1)...]
                    let answer = try JSONValue(parsing: line)
                    line.removeAll(keepingCapacity: true)
                    if let end = try self.end(answer, listing) { return end }
                    let changes = Self.changes(answer)
                    if !changes.isEmpty { onChanges(changes) }
                }
                line.append(contentsOf: rest)
                guard line.count <= Self.longestLine else {
                    throw DiscoveryError(.storeUnavailable, "a line of more than \(Self.longestLine) bytes")
                }
            }
            return .closed
        } catch let error as HTTPClientError where error == .readTimeout {
            return .silence
        } catch let error as EtcdFailure {
            throw error.error
        } catch let error as DiscoveryError {
            throw error
        } catch {
            throw DiscoveryError(.storeUnavailable, "the watch of etcd at \(listing.endpoint) broke", cause: error)
        }
    }

    /// Whether the watch is over with this answer.
    private func end(_ answer: JSONValue, _ listing: Listing) throws(EtcdFailure) -> WatchEnd? {
        guard let result = answer["result"] else {
            throw EtcdFailure(refused: answer, "/v3/watch", listing.endpoint, .ok)
        }
        if result["canceled"]?.bool == true {
            if result["compact_revision"] != nil { return .compacted }
            self.connection.forgetToken()
            let reason = result["cancel_reason"]?.string ?? answer.text
            throw EtcdFailure(
                DiscoveryError(.storeUnavailable, "etcd at \(listing.endpoint) cancelled the watch: \(reason)")
            )
        }
        // Restored from a backup or emptied since the listing: the changes that are to come have numbers that are over.
        if result["created"]?.bool == true, let revision = Self.revision(result), revision < listing.revision {
            return .replaced
        }
        return nil
    }

    // MARK: Encoding

    private static func changes(_ answer: JSONValue) -> [Change] {
        (answer["result"]?["events"]?.array ?? []).compactMap { event in
            guard let entry = event["kv"], var change = Self.change(entry) else { return nil }
            if event["type"]?.string == "DELETE" {
                change.value = nil
            } else if change.value == nil {
                change.value = []
            }
            return change
        }
    }

    private static func rangeBody(_ prefix: String) -> JSONFields {
        // The end of a prefix's range: its last byte plus one.
        var end = Array(prefix.utf8)
        if let last = end.popLast() { end.append(last + 1) }
        return ["key": .string(Self.base64(prefix)), "range_end": .string(Data(end).base64EncodedString())]
    }

    private static func revision(_ answer: JSONValue) -> Int64? {
        answer["header"]?["revision"]?.string.flatMap(Int64.init)
    }

    private static func change(_ entry: JSONValue) -> Change? {
        guard let key = entry["key"]?.string.flatMap({ Data(base64Encoded: $0) }) else { return nil }
        let value = entry["value"]?.string.flatMap { Data(base64Encoded: $0) }
        return Change(key: String(decoding: key, as: UTF8.self), value: value.map(Array.init))
    }

    private static func lease(_ id: UInt64) -> JSONValue { .string(String(Int64(bitPattern: id))) }

    private static func base64(_ text: String) -> String { Data(text.utf8).base64EncodedString() }
}
