package import NIOCore

// Source: `request-plane.md` 5.5.

extension RemoteError {
    /// Reads an `error` object.
    ///
    /// Kinds that this library does not know are read as `unknown`.
    package init?(json: ByteBuffer) {
        guard let object = try? JSONObject(json) else { return nil }
        self.init(
            kind: object.string("kind").flatMap(Kind.init) ?? object["error_type"].map(Self.kind) ?? .unknown,
            message: object.string("message") ?? "no message"
        )
    }

    /// The type is a name, or an object `{"Backend":name}`.
    private static func kind(_ type: ByteBuffer) -> Kind {
        if let name = JSONObject.string(type) { return Kind(rawValue: name) ?? .unknown }
        // The order of keys is not kept, so of several objects' keys none is better than another.
        guard let object = try? JSONObject(type), object.keys.count == 1,
            let name = object.keys.first.flatMap(object.string)
        else { return .unknown }
        return Kind(rawValue: name) ?? .unknown
    }
}

extension RemoteError.Kind {
    /// The nearest kind whose name every release accepts: an unknown name would make the whole item unreadable to a 1.0 or 1.2 caller.
    package var compatible: Self {
        switch self {
        case .unknown, .invalidArgument, .cannotConnect, .disconnected, .connectionTimeout: self
        case .responseTimeout: .connectionTimeout
        case .unavailable: .disconnected
        case .cancelled, .resourceExhausted: .unknown
        }
    }
}

extension ByteBuffer {
    /// Writes an `error` object.
    ///
    /// A kind that old callers do not know goes into a key of its own, which they ignore.
    package mutating func writeRemoteError(_ error: RemoteError) {
        self.writeStaticString(#"{"error_type":"#)
        self.writeJSONString(error.kind.compatible.rawValue)
        if error.kind.compatible != error.kind {
            self.writeStaticString(#","kind":"#)
            self.writeJSONString(error.kind.rawValue)
        }
        self.writeStaticString(#","message":"#)
        self.writeJSONString(error.message)
        self.writeStaticString("}")
    }
}
