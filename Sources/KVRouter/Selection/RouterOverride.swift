/// Settings of a router that one request changes for itself: its `router_config_override`.
///
/// Source: the fields that Dynamo 1.2.1 reads, and the ranges that it checks.
package struct RouterOverride: Hashable, Sendable {
    package var overlapCredit: Double?
    package var prefillLoadScale: Double?
    package var temperature: Double?
    package var assumesKVReuse: Bool?
    package var tracksPrefillTokens: Bool?
    /// Checked only: this router knows no cache that workers share.
    package var sharedCacheMultiplier: Double?

    package init() {}

    /// The settings for the request.
    package func applied(to configuration: RouterConfiguration) -> RouterConfiguration {
        var changed = configuration
        if let overlapCredit = self.overlapCredit { changed.cost.overlapCredit = overlapCredit }
        if let prefillLoadScale = self.prefillLoadScale { changed.cost.prefillLoadScale = prefillLoadScale }
        if let temperature = self.temperature { changed.temperature = temperature }
        if let assumesKVReuse = self.assumesKVReuse { changed.assumesKVReuse = assumesKVReuse }
        if let tracksPrefillTokens = self.tracksPrefillTokens { changed.tracksPrefillTokens = tracksPrefillTokens }
        if let multiplier = self.sharedCacheMultiplier { changed.sharedCacheMultiplier = multiplier }
        return changed
    }
}
