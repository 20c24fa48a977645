/// What a server finds in a request's target.
enum HTTPRoute: Hashable, Sendable {
    /// A path under the root, decoded; the endpoint need not exist.
    case endpoint(String)
    /// Anything else.
    case outside

    /// Reads a target.
    ///
    /// - Parameters:
    ///   - target: as it stands in the request: a path with an optional query, or a whole URL as proxies write it.
    ///   - rootPath: the server's root, without a trailing slash.
    init(target: String, rootPath: String) {
        var path = target[...]
        if path.hasPrefix("http://") {
            let rest = path.dropFirst("http://".count)
            path = rest.firstIndex(of: "/").map { rest[$0...] } ?? "/"
        }
        if let end = path.firstIndex(where: { $0 == "?" || $0 == "#" }) { path = path[..<end] }
        guard path.hasPrefix(rootPath) else {
            self = .outside
            return
        }
        path = path.dropFirst(rootPath.count)
        guard path.hasPrefix("/"), path.count > 1, let name = PercentEncoding.decode(path.dropFirst()) else {
            self = .outside
            return
        }
        self = .endpoint(name)
    }
}
