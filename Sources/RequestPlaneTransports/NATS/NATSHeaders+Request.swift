package import NATS

/// The plane-level headers of a request as NATS carries them.
extension NATSHeaders {
    /// What a request takes along.
    ///
    /// Empty values are left out: libnats takes the line after an empty value for the value, so that an empty one would arrive as
    /// something else.
    package init(request fields: [String: String]) {
        self.init()
        for (name, value) in fields where !value.isEmpty { self.add(name, value) }
    }

    /// What a handler sees: of several values of one name the last.
    package var requestFields: [String: String] {
        var fields: [String: String] = [:]
        for field in self.fields { fields[field.name] = field.value }
        return fields
    }
}
