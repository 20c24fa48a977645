import CNATS

/// The options of a connection in libnats' form.
final class NativeOptions {
    let pointer: OpaquePointer

    /// - Throws: `NATSError` for what libnats does not take.
    init(_ configuration: NATSConfiguration, _ identity: UserIdentity?, number: UInt) throws(NATSError) {
        var pointer: OpaquePointer?
        guard natsOptions_Create(&pointer) == NATS_OK, let pointer else {
            throw NATSError(.internalFailure, "libnats has no memory for the options of a connection")
        }
        self.pointer = pointer
        let closure = Self.closure(number)
        try self.setServers(configuration)
        try self.set("name", natsOptions_SetName(pointer, configuration.name.escapedForJSON))
        try self.setCredentials(configuration.credentials, identity, closure)
        if configuration.isEncrypted { try self.setTLS(configuration.tls ?? .init()) }

        try self.set("timeout", natsOptions_SetTimeout(pointer, configuration.connectTimeout.milliseconds))
        // We make a new connection instead; see `Link`.
        try self.set("reconnect", natsOptions_SetAllowReconnect(pointer, false))
        // libnats' own ping acts on a timer thread, which would free a TLS session while ours reads from it.
        try self.set("ping interval", natsOptions_SetPingInterval(pointer, 0))
        // At least one TLS record, so that nothing stays behind in the TLS session where polling does not see it.
        try self.set("buffer size", natsOptions_SetIOBufSize(pointer, 128 * 1024))
        // Without it a thread of libnats would write on the socket after a millisecond.
        try self.set("send at once", natsOptions_SetSendAsap(pointer, true))

        try self.set("error handler", natsOptions_SetErrorHandler(pointer, Callbacks.error, closure))
        try self.set(
            "event loop",
            natsOptions_SetEventLoop(
                pointer,
                closure,
                Callbacks.attach,
                Callbacks.readInterest,
                Callbacks.writeInterest,
                Callbacks.detach
            )
        )
    }

    deinit { natsOptions_Destroy(self.pointer) }

    /// A number in the shape of the pointer that C wants; see `NativeRegistry`.
    static func closure(_ number: UInt) -> UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: number) }

    private func set(_ what: String, _ status: natsStatus) throws(NATSError) {
        guard status != NATS_OK else { return }
        throw NATSError(
            .invalidConfiguration,
            "libnats refuses the \(what): \(Printable.text(NativeStatus.lastErrorText))"
        )
    }

    private func setServers(_ configuration: NATSConfiguration) throws(NATSError) {
        // libnats takes the addresses as one array of C strings.
        let copies = configuration.servers.map { address in
            address.description.utf8CString.withUnsafeBufferPointer { text in
                let copy = UnsafeMutableBufferPointer<CChar>.allocate(capacity: text.count)
                _ = copy.initialize(from: text)
                return copy
            }
        }
        defer { for copy in copies { copy.deallocate() } }
        var pointers = copies.map { $0.baseAddress.map { UnsafePointer($0) } }
        try self.set("servers", natsOptions_SetServers(self.pointer, &pointers, Int32(pointers.count)))
    }

    private func setCredentials(
        _ credentials: NATSCredentials,
        _ identity: UserIdentity?,
        _ closure: UnsafeMutableRawPointer?
    ) throws(NATSError) {
        switch credentials {
        case .none: break
        case .userPassword(let user, let password):
            try self.set(
                "user",
                natsOptions_SetUserInfo(self.pointer, user.escapedForJSON, password.escapedForJSON)
            )
        case .token(let token): try self.set("token", natsOptions_SetToken(self.pointer, token.escapedForJSON))
        case .nkey, .credentialsFile:
            // Files are not left to libnats, which signs as badly as `Link.signature` tells.
            guard let identity else { break }
            try self.set(
                "key of the user",
                identity.token == nil
                    ? natsOptions_SetNKey(self.pointer, identity.key.publicKey, Callbacks.sign, closure)
                    : natsOptions_SetUserCredentialsCallbacks(
                        self.pointer,
                        Callbacks.token,
                        closure,
                        Callbacks.sign,
                        closure
                    )
            )
        }
    }

    private func setTLS(_ tls: NATSConfiguration.TLS) throws(NATSError) {
        try self.set("TLS", natsOptions_SetSecure(self.pointer, true))
        if let file = tls.authorityFile {
            try self.set("certificate authorities", natsOptions_LoadCATrustedCertificates(self.pointer, file))
        }
        if let certificate = tls.certificateFile, let key = tls.keyFile {
            try self.set("client certificate", natsOptions_LoadCertificatesChain(self.pointer, certificate, key))
        }
        if let name = tls.serverName {
            try self.set("server name", natsOptions_SetExpectedHostname(self.pointer, name))
        }
        if tls.skipsVerification {
            try self.set("TLS verification", natsOptions_SkipServerVerification(self.pointer, true))
        }
    }
}
