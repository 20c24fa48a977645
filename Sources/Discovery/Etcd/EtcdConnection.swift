import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOSSL
import Synchronization

/// Sends requests to etcd's JSON gateway: to the member that answered last, and to the next one when it is not available.
final class EtcdConnection: Sendable {
    private struct State {
        /// The member that has answered last.
        var preferred = 0
        var token: String?
    }

    private let configuration: EtcdConfiguration
    private let endpoints: [String]
    /// For answers that come at once, and for those that last.
    private let clients: Result<(calls: HTTPClient, streams: HTTPClient), DiscoveryError>
    private let state = Mutex(State())

    init(_ configuration: EtcdConfiguration) {
        self.configuration = configuration
        self.endpoints = configuration.endpoints.map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 }
        self.clients = Result { () throws(DiscoveryError) in
            let tls = try Self.tls(configuration)
            let timing = configuration.timing
            return (Self.client(tls, silence: timing.call, timing), Self.client(tls, silence: timing.watch, timing))
        }
    }

    /// Makes a client.
    ///
    /// - Parameters:
    ///   - tls: how it speaks to members that speak TLS.
    ///   - silence: how long nothing may come in the middle of an answer.
    ///   - timing: the other limits.
    /// - Returns: the client, which must be shut down.
    private static func client(
        _ tls: TLSConfiguration,
        silence: Duration,
        _ timing: EtcdConfiguration.Timing
    ) -> HTTPClient {
        var settings = HTTPClient.Configuration(
            tlsConfiguration: tls,
            timeout: .init(connect: .init(timing.call), read: .init(silence))
        )
        // A member that cannot be reached is known to be so at once, and another one is asked.
        settings.connectionPool.retryConnectionEstablishment = false
        settings.httpVersion = .http1Only
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: settings)
    }

    deinit {
        guard case .success(let clients) = self.clients else { return }
        clients.calls.shutdown { _ in }
        clients.streams.shutdown { _ in }
    }

    /// Sends a request and waits for its answer.
    ///
    /// - Parameters:
    ///   - path: of the gateway, `/v3/...`.
    ///   - body: the request.
    /// - Returns: the answer, and the member that gave it.
    /// - Throws: `EtcdFailure` of the last member that was asked.
    func call(_ path: String, _ body: JSONValue) async throws(EtcdFailure) -> (answer: JSONValue, endpoint: String) {
        let first = self.state.withLock { $0.preferred }
        var last = EtcdFailure(DiscoveryError(.invalidConfiguration, "no etcd endpoint is configured"))
        for offset in self.endpoints.indices {
            let index = (first + offset) % self.endpoints.count
            let endpoint = self.endpoints[index]
            do throws(EtcdFailure) {
                let answer = try await self.authenticated(endpoint) { (token) async throws(EtcdFailure) in
                    try await self.exchange(path, body, token, endpoint)
                }
                self.state.withLock { $0.preferred = index }
                return (answer, endpoint)
            } catch {
                guard error.isUnavailable, !Task.isCancelled else { throw error }
                last = error
            }
        }
        throw last
    }

    /// Opens a stream of answers at one member.
    ///
    /// - Parameters:
    ///   - path: of the gateway.
    ///   - body: the request.
    ///   - endpoint: the member.
    /// - Returns: the body of the answer, JSON values in lines; it ends with `HTTPClientError.readTimeout` when nothing comes for
    ///   as long as a watch may be silent.
    /// - Throws: `EtcdFailure` when it cannot be opened.
    func open(
        _ path: String,
        _ body: JSONValue,
        at endpoint: String
    ) async throws(EtcdFailure) -> HTTPClientResponse.Body {
        try await self.authenticated(endpoint) { (token) async throws(EtcdFailure) in
            let response = try await self.execute(path, body, token, endpoint, isStream: true)
            guard response.status == .ok else {
                throw self.refusal(path, endpoint, response.status, try await self.collect(response, path, endpoint))
            }
            return response.body
        }
    }

    /// Makes the next request prove again who this process is.
    func forgetToken() { self.state.withLock { $0.token = nil } }

    // MARK: Authentication

    private func authenticated<Value>(
        _ endpoint: String,
        _ body: (String?) async throws(EtcdFailure) -> Value
    ) async throws(EtcdFailure) -> Value {
        let token = try await self.token(endpoint)
        do throws(EtcdFailure) { return try await body(token) } catch {
            // Tokens run out, and a member that was restarted knows none.
            guard token != nil, error.isUnauthenticated else { throw error }
            self.forgetToken()
            return try await body(try await self.token(endpoint))
        }
    }

    private func token(_ endpoint: String) async throws(EtcdFailure) -> String? {
        guard let user = self.configuration.user else { return nil }
        if let token = self.state.withLock({ $0.token }) { return token }
        let path = "/v3/auth/authenticate"
        let request: JSONValue = ["name": .string(user.name), "password": .string(user.password)]
        do throws(EtcdFailure) {
            let answer = try await self.exchange(path, request, nil, endpoint)
            guard let token = answer["token"]?.string else { throw EtcdFailure(unexpected: answer, path, endpoint) }
            self.state.withLock { $0.token = token }
            return token
        } catch {
            // As etcd's own clients: credentials do no harm where nobody asks for them.
            if error.status == EtcdFailure.failedPrecondition { return nil }
            if error.isUnavailable { throw error }
            var failure = error
            failure.error.code = .invalidConfiguration
            failure.error.message += "; check ETCD_AUTH_USERNAME (\(user.name)) and ETCD_AUTH_PASSWORD"
            throw failure
        }
    }

    // MARK: HTTP

    private func exchange(
        _ path: String,
        _ body: JSONValue,
        _ token: String?,
        _ endpoint: String
    ) async throws(EtcdFailure) -> JSONValue {
        let response = try await self.execute(path, body, token, endpoint)
        let answer = try await self.collect(response, path, endpoint)
        // The paths of streams report errors in a member of an answer that is fine otherwise.
        guard response.status == .ok, answer["error"] == nil else {
            throw self.refusal(path, endpoint, response.status, answer)
        }
        return answer
    }

    private func execute(
        _ path: String,
        _ body: JSONValue,
        _ token: String?,
        _ endpoint: String,
        isStream: Bool = false
    ) async throws(EtcdFailure) -> HTTPClientResponse {
        var request = HTTPClientRequest(url: endpoint + path)
        request.method = .POST
        request.headers.add(name: "content-type", value: "application/json")
        if let token { request.headers.add(name: "authorization", value: token) }
        request.body = .bytes(body.buffer)
        let client: HTTPClient
        do {
            let clients = try self.clients.get()
            client = isStream ? clients.streams : clients.calls
        } catch { throw EtcdFailure(error) }
        do { return try await client.execute(request, timeout: .init(self.configuration.timing.call)) } catch {
            throw EtcdFailure(noAnswer: error, path, endpoint)
        }
    }

    private func collect(
        _ response: HTTPClientResponse,
        _ path: String,
        _ endpoint: String
    ) async throws(EtcdFailure) -> JSONValue {
        do { return try JSONValue(parsing: try await response.body.collect(upTo: 64 << 20)) } catch {
            throw EtcdFailure(noAnswer: error, path, endpoint)
        }
    }

    private func refusal(
        _ path: String,
        _ endpoint: String,
        _ status: HTTPResponseStatus,
        _ answer: JSONValue
    ) -> EtcdFailure {
        var failure = EtcdFailure(refused: answer, path, endpoint, status)
        switch (failure.status, self.configuration.user) {
        case (EtcdFailure.permissionDenied, let user?):
            failure.error.message +=
                "; the user of ETCD_AUTH_USERNAME (\(user.name)) needs permission to read and write the prefix v1/"
        case (EtcdFailure.invalidArgument, nil) where failure.error.message.contains("user name is empty"):
            failure.error.code = .invalidConfiguration
            failure.error.message += "; set ETCD_AUTH_USERNAME and ETCD_AUTH_PASSWORD"
        default: break
        }
        return failure
    }

    // MARK: TLS

    private static func tls(_ configuration: EtcdConfiguration) throws(DiscoveryError) -> TLSConfiguration {
        var tls = TLSConfiguration.makeClientConfiguration()
        if let path = configuration.authority {
            tls.trustRoots = .certificates(
                try self.load(path, "ETCD_AUTH_CA", "certificates") { try NIOSSLCertificate.fromPEMFile(path) }
            )
        }
        if let identity = configuration.identity {
            tls.certificateChain = try self.load(identity.certificate, "ETCD_AUTH_CLIENT_CERT", "certificates") {
                try NIOSSLCertificate.fromPEMFile(identity.certificate).map { .certificate($0) }
            }
            tls.privateKey = .privateKey(
                try self.load(identity.key, "ETCD_AUTH_CLIENT_KEY", "a private key") {
                    try NIOSSLPrivateKey(file: identity.key, format: .pem)
                }
            )
        }
        return tls
    }

    private static func load<Value>(
        _ path: String,
        _ variable: String,
        _ content: String,
        _ body: () throws -> Value
    ) throws(DiscoveryError) -> Value {
        do { return try body() } catch {
            throw DiscoveryError(
                .invalidConfiguration,
                "cannot read \(content) in PEM format from '\(path)'; check \(variable)",
                cause: error
            )
        }
    }
}

extension TimeAmount {
    fileprivate init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = .seconds(seconds) + .nanoseconds(attoseconds / 1_000_000_000)
    }
}
