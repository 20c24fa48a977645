// What the API server takes as names, images and quantities, so that a wrong one is said with its line and not by a cluster.
//
// Source of the rules: the validation of Kubernetes (`k8s.io/apimachinery/pkg/util/validation`, `pkg/api/resource`) and of image
// references (`distribution/reference`).

extension NodeDecoder {
    /// A DNS label: names of namespaces, volumes and containers.
    mutating func label(_ node: ManifestNode, _ what: String) -> Located<String>? {
        guard let text = self.text(node, what) else { return nil }
        guard KubernetesName.isLabel(text.value) else {
            self.error(
                at: text.location,
                "\(what) cannot be '\(Spelling.excerpt(text.value))'",
                remedy: "use at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit"
            )
            return nil
        }
        return text
    }

    /// A DNS subdomain: names of most other objects.
    mutating func objectName(_ node: ManifestNode, _ what: String) -> Located<String>? {
        guard let text = self.text(node, what) else { return nil }
        guard KubernetesName.isSubdomain(text.value) else {
            self.error(
                at: text.location,
                "\(what) cannot be '\(Spelling.excerpt(text.value))'",
                remedy: "write an object's name: lower-case letters, digits, '-' and '.', "
                    + "beginning and ending with a letter or digit, at most 253"
            )
            return nil
        }
        return text
    }

    /// An image with its registry, tag and digest.
    mutating func image(_ node: ManifestNode, _ what: String) -> Located<String>? {
        guard let text = self.text(node, what) else { return nil }
        guard let complaint = KubernetesName.complaint(ofImage: text.value) else { return text }
        self.error(
            at: text.location,
            "\(what) is no image: '\(Spelling.excerpt(text.value))' \(complaint)",
            remedy: "write REGISTRY/NAME:TAG, or REGISTRY/NAME@sha256: and 64 hexadecimal digits"
        )
        return nil
    }

    /// An amount of a resource, such as `500m` or `8Gi`.
    ///
    /// - Parameters:
    ///   - node: what the manifest says.
    ///   - what: it is, for messages.
    ///   - example: of one.
    ///   - allowsZero: whether nothing is an amount.
    /// - Returns: it as it was written.
    mutating func quantity(
        _ node: ManifestNode,
        _ what: String,
        example: String,
        allowsZero: Bool = false
    ) -> Located<String>? {
        guard let scalar = self.scalar(node, what, wanted: "an amount such as \(example)") else { return nil }
        let text = scalar.value.text
        guard let amount = KubernetesName.amount(text) else {
            let unit = text.drop { $0.isNumber || $0 == "." }
            let short = unit.count == 2 && unit.lowercased().hasSuffix("b") ? text.dropLast() : nil
            self.error(
                at: node.location,
                "\(what) must be an amount, not '\(scalar.value.shown)'",
                remedy: short.map { "write '\($0.uppercased())i'" }
                    ?? "write a number, alone or with m, k, M, G, T, Ki, Mi, Gi or Ti: \(example)"
            )
            return nil
        }
        guard amount > 0 || allowsZero else {
            self.error(at: node.location, "\(what) must be more than 0", remedy: "write an amount such as \(example)")
            return nil
        }
        return Located(text, node.location)
    }

    /// Whether a text is the key of a label, with a complaint when it is not.
    mutating func checked(labelKey key: Located<String>, _ what: String) -> Bool {
        if KubernetesName.isQualified(key.value) { return true }
        self.error(
            at: key.location,
            "\(what) cannot be '\(Spelling.excerpt(key.value))'",
            remedy: "write NAME or DOMAIN/NAME, the name of at most 63 letters, digits, '-', '_' and '.', "
                + "beginning and ending with a letter or digit"
        )
        return false
    }

    /// The value of a label, which may be empty.
    mutating func labelValue(_ node: ManifestNode, _ what: String) -> String? {
        guard let scalar = self.scalar(node, what) else { return nil }
        let text = scalar.value.text
        guard text.isEmpty || KubernetesName.isLabelValue(text) else {
            self.error(
                at: node.location,
                "\(what) cannot be '\(scalar.value.shown)'",
                remedy: "use at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
            )
            return nil
        }
        return text
    }
}

/// The grammar of names in a cluster.
enum KubernetesName {
    /// RFC 1123, one label.
    static func isLabel(_ text: some StringProtocol) -> Bool {
        let bytes = Array(text.utf8)
        return (1...63).contains(bytes.count) && bytes.allSatisfy { self.isLowerAlphanumeric($0) || $0 == 0x2D }
            && self.endsWell(bytes, self.isLowerAlphanumeric)
    }

    /// RFC 1123, labels with dots between them.
    static func isSubdomain(_ text: some StringProtocol) -> Bool {
        text.utf8.count <= 253
            && text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { part in
                !part.isEmpty
                    && part.utf8.allSatisfy { self.isLowerAlphanumeric($0) || $0 == 0x2D }
                    && self.endsWell(Array(part.utf8), self.isLowerAlphanumeric)
            }
    }

    /// The value of a label, and the part of its key behind the domain.
    static func isLabelValue(_ text: some StringProtocol) -> Bool {
        let bytes = Array(text.utf8)
        return (1...63).contains(bytes.count)
            && bytes.allSatisfy { self.isAlphanumeric($0) || $0 == 0x2D || $0 == 0x5F || $0 == 0x2E }
            && self.endsWell(bytes, self.isAlphanumeric)
    }

    /// `NAME` or `DOMAIN/NAME`.
    static func isQualified(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        switch parts.count {
        case 1: return self.isLabelValue(text)
        case 2: return self.isSubdomain(parts[0]) && self.isLabelValue(parts[1])
        default: return false
        }
    }

    /// The key of a Secret's or ConfigMap's entry.
    static func isDataKey(_ text: String) -> Bool {
        (1...253).contains(text.utf8.count) && text != "." && !text.hasPrefix("..")
            && text.utf8.allSatisfy { self.isAlphanumeric($0) || $0 == 0x2D || $0 == 0x5F || $0 == 0x2E }
    }

    /// Whether the request of a resource must be its limit (Kubernetes, "Resource Management for Pods and Containers", and "Manage
    /// HugePages").
    static func isExclusive(_ resource: String) -> Bool { resource.contains("/") || resource.hasPrefix("hugepages-") }

    /// How much a quantity is; nil when it is none, or less than nothing.
    static func amount(_ text: String) -> Double? {
        let digits = text.prefix { $0 == "." || $0.isASCII && $0.isNumber }
        guard digits.count <= 30, digits.contains(where: \.isNumber), digits.filter({ $0 == "." }).count <= 1,
            let number = Double("0\(digits)0")
        else { return nil }
        // A trailing zero makes `1.` a number, and ten times as much of one without a point.
        let value = digits.contains(".") ? number : number / 10
        let suffix = String(text[digits.endIndex...])
        if let factor = Self.factors[suffix] { return value * factor }
        guard let match = suffix.wholeMatch(of: /[eE]([+-]?[0-9]{1,2})/), let exponent = Double("1e\(match.1)") else {
            return nil
        }
        return value * exponent
    }

    /// What keeps a text from being an image, as the end of a sentence.
    static func complaint(ofImage text: String) -> String? {
        let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        if parts.count == 2 {
            let digest = parts[1]
            let isDigest =
                digest.wholeMatch(of: /sha256:[0-9a-f]{64}/) != nil
                || digest.wholeMatch(of: /sha512:[0-9a-f]{128}/) != nil
            guard isDigest else { return "has no digest of 64 hexadecimal digits after '@sha256:'" }
        }
        var name = parts[0]
        if let colon = name.lastIndex(of: ":"), !name[colon...].contains("/") {
            guard name[colon...].dropFirst().wholeMatch(of: /[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}/) != nil else {
                return "has no tag after ':'"
            }
            name = name[..<colon]
        }
        guard name.utf8.count <= 255 else { return "has a name of more than 255 characters" }
        if name.contains("://") { return "begins with a scheme" }
        var path = name.split(separator: "/", omittingEmptySubsequences: false)
        if path.count > 1, path[0] == "localhost" || path[0].contains(".") || path[0].contains(":") {
            let host = path.removeFirst()
            guard host.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?/) != nil
            else { return "has no registry before the first '/'" }
        }
        let isName = path.allSatisfy { part in
            part.utf8.allSatisfy {
                self.isLowerAlphanumeric($0) || $0 == 0x2D || $0 == 0x5F || $0 == 0x2E
            } && self.endsWell(Array(part.utf8), self.isLowerAlphanumeric) && !part.contains("..")
        }
        return isName ? nil : "has other characters than lower-case letters, digits, '-', '_' and '.' in its name"
    }

    private static let factors: [String: Double] = [
        "": 1, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
        "Ki": 0x1p10, "Mi": 0x1p20, "Gi": 0x1p30, "Ti": 0x1p40, "Pi": 0x1p50, "Ei": 0x1p60,
    ]

    private static func isLowerAlphanumeric(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        self.isLowerAlphanumeric(byte) || (0x41...0x5A).contains(byte)
    }

    private static func endsWell(_ bytes: [UInt8], _ fits: (UInt8) -> Bool) -> Bool {
        guard let first = bytes.first, let last = bytes.last else { return false }
        return fits(first) && fits(last)
    }
}
