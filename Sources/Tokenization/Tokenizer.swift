@_spi(_Unicode) import Swift

/// A model's tokenizer in Hugging Face's form, as far as it is a byte-level BPE.
package final class Tokenizer: Sendable {
    enum Normalizer: Hashable, Sendable {
        case composed
        case decomposed
    }

    /// A part of what stands around an encoded text.
    enum Frame: Hashable, Sendable {
        case tokens([UInt32])
        case text
    }

    let normalizers: [Normalizer]
    let model: BytePairModel
    let preTokenizer: PreTokenizer
    /// Looked for in the text as it came.
    let raw: AddedTokens
    /// Looked for in the normalized text.
    let normalized: AddedTokens
    let frame: [Frame]
    private let bytesByID: [[UInt8]]
    private let idsByText: [[UInt8]: UInt32]
    private let special: Set<UInt32>

    init(
        normalizers: [Normalizer],
        model: BytePairModel,
        preTokenizer: PreTokenizer,
        added: [AddedTokens.Token],
        frame: [Frame],
        texts: [(text: String, id: UInt32)]
    ) {
        self.normalizers = normalizers
        self.model = model
        self.preTokenizer = preTokenizer
        let added = added.map { token in
            var token = token
            if token.isNormalized { token.content = Self.normalize(token.content, normalizers) }
            return token
        }
        self.raw = AddedTokens(added.filter { !$0.isNormalized })
        self.normalized = AddedTokens(added.filter(\.isNormalized))
        self.frame = frame
        self.special = Set(added.filter(\.isSpecial).map(\.id))
        let all = texts + added.map { ($0.content, $0.id) }
        var bytes: [[UInt8]] = []
        var ids: [[UInt8]: UInt32] = [:]
        for (text, id) in all {
            if Int(id) >= bytes.count { bytes += Array(repeating: [], count: Int(id) + 1 - bytes.count) }
            bytes[Int(id)] = ByteAlphabet.bytes(of: text) ?? Array(text.utf8)
            ids[Array(text.utf8)] = id
        }
        (self.bytesByID, self.idsByText) = (bytes, ids)
    }

    /// How many ids there are.
    package var count: Int { self.bytesByID.count }

    /// The id of a token by its text in the vocabulary.
    package func id(of text: String) -> UInt32? { self.idsByText[Array(text.utf8)] }

    /// Whether a token is one that carries meaning, not text.
    package func isSpecial(_ id: UInt32) -> Bool { self.special.contains(id) }

    /// The bytes of a token; none for an id that does not exist.
    package func bytes(of id: UInt32) -> [UInt8] {
        Int(id) < self.bytesByID.count ? self.bytesByID[Int(id)] : []
    }

    /// The tokens of a text.
    ///
    /// - Parameters:
    ///   - text: what to encode; special tokens in it are recognized.
    ///   - addsSpecialTokens: whether what the model's tokenizer puts around a text, such as a token for its start, is added.
    /// - Returns: the ids.
    package func encode(_ text: String, addsSpecialTokens: Bool = false) -> [UInt32] {
        var tokens: [UInt32] = []
        for part in addsSpecialTokens ? self.frame : [.text] {
            switch part {
            case .tokens(let ids): tokens += ids
            case .text: self.encode(text, to: &tokens)
            }
        }
        return tokens
    }

    private func encode(_ text: String, to tokens: inout [UInt32]) {
        for piece in self.raw.split(text) {
            switch piece {
            case .token(let id): tokens.append(id)
            case .text(let text):
                for piece in self.normalized.split(Self.normalize(text, self.normalizers)) {
                    switch piece {
                    case .token(let id): tokens.append(id)
                    case .text(let text): self.preTokenizer.words(of: text) { self.model.encode($0, to: &tokens) }
                    }
                }
            }
        }
    }

    /// The text of tokens.
    ///
    /// - Parameters:
    ///   - tokens: ids; those that do not exist leave no text.
    ///   - skipsSpecialTokens: whether special tokens leave no text either.
    /// - Returns: the text, with U+FFFD for bytes that are no UTF-8.
    package func decode(_ tokens: some Sequence<UInt32>, skipsSpecialTokens: Bool = true) -> String {
        var bytes: [UInt8] = []
        for token in tokens where !(skipsSpecialTokens && self.isSpecial(token)) { bytes += self.bytes(of: token) }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func normalize(_ text: String, _ normalizers: [Normalizer]) -> String {
        normalizers.reduce(text) { text, normalizer in
            // Plain ASCII has one form only.
            if text.utf8.allSatisfy({ $0 < 0x80 }) { return text }
            var scalars = String.UnicodeScalarView()
            switch normalizer {
            case .composed: scalars.append(contentsOf: text._nfc)
            case .decomposed: scalars.append(contentsOf: text._nfd)
            }
            return String(scalars)
        }
    }
}
