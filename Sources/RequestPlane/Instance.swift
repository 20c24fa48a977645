/// Identifies one running copy of an endpoint; an unsigned 64-bit number, often above 2^63.
///
/// Source: `request-plane.md`, "Instance record".
public struct InstanceID: RawRepresentable, Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The number as it stands in JSON.
    public var rawValue: UInt64

    /// Wraps a number taken from a discovery record.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Lower-case hexadecimal without leading zeros: the form in keys, paths and subjects.
    public var hex: String { String(self.rawValue, radix: 16) }

    /// The hexadecimal form.
    public var description: String { self.hex }

    /// Orders by number.
    public static func < (lhs: InstanceID, rhs: InstanceID) -> Bool { lhs.rawValue < rhs.rawValue }
}

/// The plane that carries requests and their acknowledgements.
public enum RequestPlaneMode: String, Hashable, Sendable, CaseIterable {
    /// Frames over pooled TCP connections; the default of Dynamo.
    case tcp
    /// One HTTP POST for each request; Dynamo up to 1.2.
    case http
    /// NATS request/reply.
    case nats
}

/// Where an instance takes requests, as published in discovery.
///
/// The text is used verbatim.
public enum TransportAddress: Hashable, Sendable {
    /// `IP:PORT/<endpoint path>`.
    case tcp(String)
    /// A URL.
    case http(String)
    /// A NATS subject.
    case nats(String)

    /// The plane that the address belongs to.
    public var mode: RequestPlaneMode {
        switch self {
        case .tcp: .tcp
        case .http: .http
        case .nats: .nats
        }
    }

    /// The text without its kind.
    public var value: String {
        switch self {
        case .tcp(let value), .http(let value), .nats(let value): value
        }
    }
}

/// One running copy of an endpoint: what a caller learns from discovery and needs to send a request.
public struct Instance: Hashable, Sendable {
    /// The endpoint that is served.
    public var endpoint: EndpointID
    /// Which copy this is.
    public var id: InstanceID
    /// Where it takes requests.
    public var transport: TransportAddress

    /// Creates an instance from its parts.
    public init(endpoint: EndpointID, id: InstanceID, transport: TransportAddress) {
        self.endpoint = endpoint
        self.id = id
        self.transport = transport
    }
}
