import Discovery
import Testing

@Suite("Namespaces a reader looks at")
struct NamespaceFilterTests {
    @Test(
        "the rule of Dynamo's frontend",
        arguments: [
            (nil, nil, NamespaceFilter.all), ("", nil, .all), ("dynamo", nil, .all), ("alpha", nil, .exact("alpha")),
            ("alpha", "al", .prefix("al")), ("alpha", "", .exact("alpha")),
        ] as [(String?, String?, NamespaceFilter)]
    )
    func rule(namespace: String?, prefix: String?, filter: NamespaceFilter) {
        #expect(NamespaceFilter(namespace: namespace, prefix: prefix) == filter)
    }

    @Test("exact is exact, a prefix is a prefix")
    func matching() {
        #expect(["alpha", "alpha-x", "beta"].filter(NamespaceFilter.exact("alpha").matches) == ["alpha"])
        #expect(["alpha", "alpha-x", "beta"].filter(NamespaceFilter.prefix("alpha").matches) == ["alpha", "alpha-x"])
        #expect(["alpha", "beta"].allSatisfy(NamespaceFilter.all.matches))
    }
}
