internal import Deployment

/// The body of `POST /v1/migrate`: only what there is, each key with its own words when its value is wrong.
struct MigrationBody: Decodable {
    static let example = "{\"requestPlane\": \"nats\"}"

    let request: MigrationRequest

    init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Key.self)
        let names = MigrationRequest.Field.allCases.map(\.rawValue)
        for key in fields.allKeys.map(\.stringValue).sorted() where !names.contains(key) {
            let hint = Spelling.nearest(to: key, among: names).map { "did you mean '\($0)'?" }
            throw BadBodyValue(
                description: "the body has an unknown key '\(key)'; "
                    + (hint ?? "there are: \(names.joined(separator: ", "))")
            )
        }
        func value<Value: Decodable>(_ field: MigrationRequest.Field, _ kind: String) throws -> Value? {
            do { return try fields.decodeIfPresent(Value.self, forKey: Key(stringValue: field.rawValue)) } catch {
                throw BadBodyValue(description: "'\(field.rawValue)' in the body must be \(kind)")
            }
        }
        let strategy: String? = try value(.strategy, "a word")
        let strategies = MigrationSettings.Strategy.allCases.map(\.rawValue)
        if let strategy, !strategies.contains(strategy) {
            throw BadBodyValue(
                description: MigrationRequest.unknown("'strategy' in the body", strategy, among: strategies)
            )
        }
        let request = MigrationRequest(
            requestPlane: try value(.requestPlane, "a word"),
            manifest: try value(.manifest, "a path"),
            set: try value(.set, "a list of words such as \"planes.request=nats\"") ?? [],
            strategy: strategy.flatMap(MigrationSettings.Strategy.init),
            steps: try value(.steps, "a list of whole numbers"),
            observe: try value(.observe, "a number of seconds"),
            rollbackWindow: try value(.rollbackWindow, "a number of seconds"),
            confirm: try value(.confirm, "true or false") ?? false
        )
        if let trouble = request.trouble(calling: { "'\($0.rawValue)'" }) {
            throw BadBodyValue(description: trouble)
        }
        self.request = request
    }

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }
}

/// What is wrong with a value of a body, in words.
struct BadBodyValue: Error {
    let description: String
}
