extension NATSConfiguration {
    /// Reads the variables that Dynamo's processes read.
    ///
    /// `docs/environment.md` lists them, `NATS_*`. Of several credentials the first complete one counts: user and password, token, nkey,
    /// credentials file.
    ///
    /// Like Dynamo's own processes, a client without credentials sends the user `user` with the password `user`. Half a
    /// pair is an error here, because it would otherwise be ignored.
    ///
    /// - Parameters:
    ///   - environment: the variables of the process; empty ones count as unset.
    ///   - name: how the server's monitoring names this client.
    /// - Throws: `NATSError` with the variable, what is wrong about it and what to write.
    package init(environment: [String: String], name: String = "") throws(NATSError) {
        func text(_ variable: String) -> String? {
            guard let value = environment[variable], !value.isEmpty else { return nil }
            return value
        }
        var servers: [NATSServerAddress] = []
        for part in (text("NATS_SERVER") ?? "nats://localhost:4222").split(separator: ",") {
            do {
                servers.append(try NATSServerAddress(url: String(part.trimmingSpaces)))
            } catch {
                throw NATSError(error.code, "NATS_SERVER: \(error.message)")
            }
        }
        self.init(servers: servers, name: name)
        self.credentials = try Self.credentials(text)
        let insecure = try Self.boolean("NATS_TLS_INSECURE", text("NATS_TLS_INSECURE"))
        let tls = TLS(
            authorityFile: text("NATS_TLS_CA_CERT_PATH"),
            certificateFile: text("NATS_TLS_CLIENT_CERT_PATH"),
            keyFile: text("NATS_TLS_CLIENT_KEY_PATH"),
            skipsVerification: insecure
        )
        if tls != TLS() { self.tls = tls }
        try self.validate()
    }

    private static func credentials(_ text: (String) -> String?) throws(NATSError) -> NATSCredentials {
        let user = text("NATS_AUTH_USERNAME")
        let password = text("NATS_AUTH_PASSWORD")
        if let user, let password { return .userPassword(user: user, password: password) }
        if let token = text("NATS_AUTH_TOKEN") { return .token(token) }
        if let seed = text("NATS_AUTH_NKEY") { return .nkey(seed: seed) }
        if let path = text("NATS_AUTH_CREDENTIALS_FILE") { return .credentialsFile(path) }
        guard user == nil, password == nil else {
            let (set, missing) = user == nil ? ("PASSWORD", "USERNAME") : ("USERNAME", "PASSWORD")
            throw NATSError(
                .invalidConfiguration,
                "NATS_AUTH_\(set) is set but NATS_AUTH_\(missing) is not; set both, or neither"
            )
        }
        return .userPassword(user: "user", password: "user")
    }

    private static func boolean(_ variable: String, _ value: String?) throws(NATSError) -> Bool {
        guard let value else { return false }
        switch value.lowercased() {
        case "1", "true", "yes", "on": return true
        case "0", "false", "no", "off": return false
        default:
            throw NATSError(
                .invalidConfiguration,
                "\(variable)='\(value)' is neither true nor false; write one of them"
            )
        }
    }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring {
        var rest = self
        while rest.first == " " { rest.removeFirst() }
        while rest.last == " " { rest.removeLast() }
        return rest
    }
}
