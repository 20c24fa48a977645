import Discovery
import Testing

@Suite("Model cards")
struct ModelCardTests {
    @Test(
        "our card has every field of the smallest card that a release accepts",
        arguments: ["text_1.0.2_1.2.1", "text_1.6.1"]
    )
    func smallest(name: String) throws {
        let smallest = try #require(try DiscoveryFixture.load("model-card-minimal.json")[name]?.object)
        let kind = ModelCard.Kind(text: smallest["model_type"]?.string ?? "")
        let card = ModelCard.text(name: "hand", kind: kind, contextLength: 4096)
        for member in smallest.members { #expect(card.fields[member.name] == member.value, "\(member.name)") }
    }

    @Test("kinds are names joined by bars; unknown ones are ignored")
    func kinds() {
        #expect(ModelCard.Kind(text: "Chat | Completions") == [.chat, .completions])
        #expect(ModelCard.Kind(text: "Chat|Realtime") == [.chat])
        #expect(ModelCard.Kind(text: "chat") == [])
        #expect(ModelCard.Kind(text: "") == [])
        #expect(([.chat, .completions] as ModelCard.Kind).text == "Chat | Completions")
    }

    @Test(
        "slugs",
        arguments: [("my-text", "my-text"), ("/models/tiny", "models_tiny"), ("Qwen/Qwen3-0.6B", "qwen_qwen3-0_6b")]
    )
    func slugs(name: String, slug: String) { #expect(ModelCard.slug(of: name) == slug) }
}
