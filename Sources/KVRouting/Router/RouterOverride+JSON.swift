import Discovery
import KVRouter
import RequestPlane

extension RouterOverride {
    private static let names = [
        "overlap_score_credit", "prefill_load_scale", "overlap_score_weight", "router_temperature", "assume_kv_reuse",
        "track_prefill_tokens", "shared_cache_multiplier",
    ]

    /// Reads a request's `router_config_override`; a member that is null counts as not there.
    ///
    /// The old name `overlap_score_weight` is the scale, and 0 there is a credit of 0 too, as in Dynamo.
    ///
    /// - Parameter value: an object.
    /// - Throws: `RemoteError` when a member is unknown, of the wrong kind, or out of range.
    init(_ value: JSONValue) throws(RemoteError) {
        self.init()
        guard let fields = value.object else {
            throw RoutedRequest.invalid("`router_config_override` must be an object, not \(value.kind)")
        }
        if let unknown = fields.members.first(where: { !Self.names.contains($0.name) })?.name {
            throw RoutedRequest.invalid(
                "`router_config_override` has no setting `\(unknown)`; there are \(Self.names.joined(separator: ", "))"
            )
        }
        self.overlapCredit = try Self.number(fields, "overlap_score_credit", 0...1)
        self.prefillLoadScale = try Self.number(fields, "prefill_load_scale", 0 ... .greatestFiniteMagnitude)
        self.temperature = try Self.number(fields, "router_temperature", 0 ... .greatestFiniteMagnitude)
        self.sharedCacheMultiplier = try Self.number(fields, "shared_cache_multiplier", 0...1)
        self.assumesKVReuse = try Self.flag(fields, "assume_kv_reuse")
        self.tracksPrefillTokens = try Self.flag(fields, "track_prefill_tokens")
        if let weight = try Self.number(fields, "overlap_score_weight", 0 ... .greatestFiniteMagnitude) {
            self.prefillLoadScale = weight
            if weight == 0 { self.overlapCredit = 0 }
        }
    }

    private static func number(
        _ fields: JSONFields,
        _ name: String,
        _ range: ClosedRange<Double>
    ) throws(RemoteError) -> Double? {
        guard let value = fields[name], !value.isNull else { return nil }
        guard let number = value.double, range.contains(number) else {
            let bound = range.upperBound == 1 ? "a number from 0 to 1" : "a number of 0 or more"
            throw RoutedRequest.invalid("`router_config_override.\(name)` must be \(bound)")
        }
        return number
    }

    private static func flag(_ fields: JSONFields, _ name: String) throws(RemoteError) -> Bool? {
        guard let value = fields[name], !value.isNull else { return nil }
        guard let flag = value.bool else {
            throw RoutedRequest.invalid("`router_config_override.\(name)` must be true or false, not \(value.kind)")
        }
        return flag
    }
}
