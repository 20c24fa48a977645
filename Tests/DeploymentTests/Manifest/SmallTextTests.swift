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
        "MYSQL_PWD", "PGPASS", "PGPASSWORD", "GITHUB_PAT", "OTEL_AUTHORIZATION",
    ])
    func secrets(_ name: String) {
        #expect(Secrets.isSecret(name: name))
    }

    @Test(arguments: [
        "PATH", "HOME", "KEY", "HF_HOME", "DYN_TCP_TLS_KEY_PATH", "NATS_AUTH_CREDENTIALS_FILE", "SSH_AUTH_SOCK",
        "TOKENIZERS_PARALLELISM", "KEYBOARD", "PWD", "OLDPWD", "SORT_KEY", "PRIMARY_KEY", "CACHE_KEY", "MAX_TOKEN",
        "EOS_TOKEN",
        "AUTH_MODE", "AUTH_METHOD", "AUTH_TYPE", "DYN_TOKEN_BUDGET",
    ])
    func noSecrets(_ name: String) {
        #expect(!Secrets.isSecret(name: name))
    }

    @Test func numbersAndChoicesAreSecretsOnlyWherePasswordsCanBe() {
        for value in ["1024", "0.5", "true", "off"] { #expect(!Secrets.isSecret(name: "X_TOKEN", value: value)) }
        for value in ["a1024", "1234567890", ""] { #expect(Secrets.isSecret(name: "X_TOKEN", value: value)) }
        #expect(Secrets.isSecret(name: "DB_PASSWORD", value: "123456"))
        #expect(!Secrets.isSecret(name: "LEVEL", value: "x"))
    }

    @Test(arguments: [
        "postgres://u:p@h/db", "http://u:p@proxy:3128", "nats://u:p@h", "nats://s3cr3t@h:4222", "https://h/x?token=abc",
        "https://h/x?a=b&api_key=x", "https://h?access_token=x#y", "https://s.blob.example/x?sv=1&sig=aGk%3D",
        "--token=x", "Authorization: Bearer x", "-HAuthorization: Basic eDp5", "host=db password=x", "API_KEY=x",
        #"{"a": 1, "apiKey": "x"}"#, "exec engine --password x --verbose", "-----BEGIN RSA PRIVATE KEY-----\nx",
        "Authorization=Bearer tok", "a=b,authorization=Basic%20dG9r", "x-api-key=tok", "Authorization:Bearer tok",
        "pwd=tok",
        #"{"Authorization": "Bearer tok"}"#, "ghp_0123456789abcdefABCD", "--x=github_pat_0123456789abcdef_A",
        "hf_abcdefghijklmnopqrst", "sk-proj-0123456789abcdef", "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOi.eyJzdWIiOiIx.SflKxwRJSM", "https://hooks.slack.com/services/T00/B00/XXX", "password=12345",
        "see http://h and redis://:p@h", "auth.accessToken=x",
    ])
    func credentials(_ text: String) throws {
        let what = try #require(Secrets.credential(in: text.replacing("-HA", with: "'A")))
        #expect(!what.contains("s3cr3t"))
    }

    @Test(arguments: [
        "http://proxy:3128", "ssh://git@host/x", "postgres://app@db/x", "https://h/a@b:c", "a@b:c", "image:1@sha256:00",
        "https://h/x?tokens=5&token=", "--max-tokens=5", "--speculative-token-map=x", "--tokenizer=a/b", "info,x=debug",
        #"exec engine --api-key "$API_KEY" --x"#, "TOKEN=$(cat /run/token)", "https://$USER:$PASSWORD@h",
        "http://***@h",
        "--token=/var/run/secrets/token", "--stop-token=</s>", "--pad-token=0", "--auth=none", #"{"tokens": "x"}"#,
        "Authorization: Bearer $TOKEN", "--key=x",
        "Authorization=Bearer $TOKEN", "Authorization=Bearer%20${TOKEN}", #"{"Authorization": "Bearer $TOKEN"}"#,
        "Authorization=Bearer",
        #"{"eos_token":"EOSX"}"#, #"{"pad_token": "x"}"#, "--partition-key=userid",
        "--auth-token=1024",
        #"{"pad_token": "<pad>","bos_token":"BOS", "image_token": "IMGT"}"#, "auth_mode=plain", "HF_HUB=hf_transfer",
        "task-0123456789abcdefgh", "sk-learn-classifier-model", "eyJ", "1.2.3",
    ])
    func noCredentials(_ text: String) {
        #expect(Secrets.credential(in: text) == nil)
    }

    @Test func credentialsInArguments() {
        func found(_ words: String...) -> [String] {
            Secrets.credentials(in: words).map { "\($0.index) \($0.what)" }
        }
        #expect(found("--password", "x", "-v") == ["1 '--password'"])
        #expect(found("-v", "--api-key=x", "--hf-token", "y") == ["1 'api-key'", "3 '--hf-token'"])
        #expect(found("-H", "Authorization: Bearer x") == ["1 '-H', the header 'Authorization'"])
        #expect(found("--db", "postgres://u:p@h") == ["1 '--db', a URL with a password"])
        #expect(found("--image-token", "IMGT", "--sort-key", "name", "--auth-token", "5") == [])
        #expect(found("--return-token", "--token", "-v", "--tls-key", "/k.pem", "--token") == [])
    }

    @Test func argumentsAreMasked() {
        let words = ["-v", "--password", "x", "--api-key=y", "Authorization: Bearer z", "http://u:p@h", "--level=1"]
        #expect(
            Secrets.masking(arguments: words)
                == ["-v", "--password", "***", "--api-key=***", "***", "http://***@h", "--level=1"]
        )
        #expect(Secrets.maskingCredential("authorization=Bearer z") == "***")
        #expect(Secrets.maskingCredential("http://u:p@h") == "http://***@h")
    }

    @Test(
        arguments: [
            ("abcd", true), ("${X}", false), ("${X:-}", false), ("${X:-abcd}", true), ("${X:-${Y:-abcd}}", true),
            ("${X:-${Y}}", false), ("${X:?please}", false), ("${X:+abcd}", true), ("Bearer ${X}", false),
            ("abcd${X}", true), ("${X}-abcd", true), ("https://u:${X}@host.a:80", false), ("$${X}", true),
            ("{{name}}", false), ("abcd{{name}}", true), ("true", false), ("abc", false),
        ]
    )
    func secretsThatStandInTheManifest(_ written: String, _ hasSecret: Bool) {
        #expect(WrittenText(written).hasSecret(called: "API_KEY") == hasSecret)
    }

    @Test(
        arguments: [
            ("redis://u:${X}@h", false), ("redis://u:${X:-abcd}@h", true), ("redis://u:abcd@{{name}}", true),
            ("abcd", false), ("?token=${X}", false),
        ]
    )
    func secretsByTheirLooksThatStandInTheManifest(_ written: String, _ hasSecret: Bool) {
        #expect(WrittenText(written).hasSecret(called: nil) == hasSecret)
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

    @Test(arguments: ["a", "a:", "a://", "sk-", "-a ", "a=", "'a':", " ", "eyJ", "@", "://a:b", "gh_"])
    func longTextsTakeTimeInProportion(_ text: String) {
        // The square of it would take hours.
        _ = Secrets.credential(in: String(repeating: text, count: 100_000))
        _ = Secrets.masking(arguments: [String(repeating: text, count: 100_000)])
    }

    @Test(arguments: [("SIGTERM", 15), ("TERM", 15), ("15", 15), ("SIGINT", 2), ("KILL", 9)] as [(String, Int32)])
    func signals(_ text: String, _ number: Int32) {
        #expect(ProcessSignal(text)?.number == number)
    }
}
