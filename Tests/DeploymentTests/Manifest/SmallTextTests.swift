import Testing

@testable import Deployment

@Suite struct SmallTextTests {
    @Test(
        arguments: [
            ("500ms", 0.5), ("10s", 10), ("2m", 120), ("1h", 3600), ("3", 3), ("0.25", 0.25), ("1.5m", 90), ("0", 0),
            ("100ms", 0.1),
        ] as [(String, Double)]
    )
    func durations(_ text: String, _ seconds: Double) {
        #expect(DurationText.seconds(text) == seconds)
    }

    @Test(arguments: ["", "s", "10 s", "-1", "+1", ".5", "5.", "1d", "1e3", "0x10", "1.2.3", "ms", "１", "nan", "inf"])
    func noDurations(_ text: String) {
        #expect(DurationText.seconds(text) == nil)
    }

    @Test(
        arguments: [
            (0.5, "500ms"), (10, "10s"), (120, "2m"), (90, "90s"), (7200, "2h"), (0.1, "100ms"), (2.5, "2.5s"),
            (0, "0s"),
        ] as [(Double, String)]
    )
    func secondsForPeople(_ seconds: Double, _ text: String) {
        #expect(Seconds.rendered(seconds) == text)
    }

    @Test(
        arguments: [
            ("proceses", "processes"), ("depends_on", "dependsOn"), ("dependson", "dependsOn"), ("replica", "replicas"),
            ("environment", "env"), ("xyzzy", nil), ("", nil), ("comand", "command"), ("agrs", "args"),
        ] as [(String, String?)]
    )
    func nearestSpelling(_ word: String, _ nearest: String?) {
        #expect(Spelling.nearest(to: word, among: ManifestKey.root + ManifestKey.process) == nearest)
    }

    @Test func nearestOfNothing() {
        #expect(Spelling.nearest(to: "a", among: []) == nil)
        #expect(Spelling.nearest(to: String(repeating: "a", count: 5000), among: ["a"]) == nil)
    }

    @Test func excerptsAreOneShortLine() {
        #expect(Spelling.excerpt("a\nb\tc\u{7}") == "a\\nb\\tc\\u{7}")
        #expect(Spelling.excerpt(String(repeating: "x", count: 100)).count == 63)
        #expect(Spelling.alternatives(["a"]) == "'a'")
        #expect(Spelling.alternatives(["a", "b", "c"]) == "'a', 'b' or 'c'")
    }

    @Test(arguments: [
        "HF_TOKEN", "API_KEY", "NATS_AUTH_PASSWORD", "MY_SECRET", "AWS_SECRET_ACCESS_KEY", "NGC_APIKEY", "token",
    ])
    func secrets(_ name: String) {
        #expect(Secrets.isSecret(name: name))
    }

    @Test(arguments: [
        "PATH", "HOME", "KEY", "HF_HOME", "DYN_TCP_TLS_KEY_PATH", "NATS_AUTH_CREDENTIALS_FILE", "SSH_AUTH_SOCK",
        "TOKENIZERS_PARALLELISM", "KEYBOARD",
    ])
    func noSecrets(_ name: String) {
        #expect(!Secrets.isSecret(name: name))
    }

    @Test func urlsAreMasked() {
        #expect(Secrets.masking(url: "nats://ada:pw@host:4222") == "nats://***@host:4222")
        #expect(Secrets.masking(url: "see http://a/b@c and nats://t@h") == "see http://a/b@c and nats://***@h")
        #expect(Secrets.masking(url: "a@b") == "a@b")
        #expect(Secrets.masking("--key=abcdef", values: ["abcdef"]) == "--key=***")
    }

    @Test(arguments: [
        ("a", "a"), ("", "''"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("--x=1", "--x=1"), ("$A", "'$A'"),
        ("a*", "'a*'"),
    ])
    func shellWords(_ word: String, _ quoted: String) {
        #expect(ShellText.quoted(word) == quoted)
    }

    @Test(arguments: [
        ("a/b", "/w/a/b"), ("/a/./b/../c", "/a/c"), ("..", "/"), ("../../x", "/x"), (".", "/w"), ("/", "/"),
    ])
    func paths(_ path: String, _ absolute: String) {
        #expect(FilePathText.resolve(path, against: "/w") == absolute)
    }

    @Test(
        arguments: [
            ("host:80", "host", 80), ("[::1]:80", "[::1]", 80), ("host", "host", nil),
        ] as [(String, String, Int?)]
    )
    func addresses(_ text: String, _ host: String, _ port: Int?) {
        let address = AddressText.split(text)
        #expect(address?.host == host)
        #expect(address?.port == port)
    }

    @Test(arguments: ["host:0", "host:65536", "host:x", "::1", "a b:1", "[::1", "[::1]x", "h:1:2", "h/p"])
    func noAddresses(_ text: String) {
        #expect(AddressText.split(text) == nil)
    }

    @Test(arguments: [("SIGTERM", 15), ("TERM", 15), ("15", 15), ("SIGINT", 2), ("KILL", 9)] as [(String, Int32)])
    func signals(_ text: String, _ number: Int32) {
        #expect(SignalName(text)?.number == number)
    }
}
