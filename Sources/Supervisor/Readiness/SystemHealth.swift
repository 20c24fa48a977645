internal import FoundationEssentials
internal import NIOCore

/// Reads the `/health` of a worker's system server: the status code is not to be trusted, the named endpoints are.
package enum SystemHealth {
    private struct Body: Decodable {
        var status: String?
        var endpoints: [String: Endpoint]?
    }

    /// An endpoint's state: a text, or an object with one.
    private enum Endpoint: Decodable {
        case text(String)
        case object(String)

        init(from decoder: any Decoder) throws {
            if let text = try? decoder.singleValueContainer().decode(String.self) {
                self = .text(text)
            } else {
                struct Object: Decodable { var status: String }
                self = .object(try Object(from: decoder).status)
            }
        }

        var state: String {
            switch self {
            case .text(let state), .object(let state): state
            }
        }
    }

    /// Success when endpoints are named and all of them are ready.
    ///
    /// A mocker that serves answers 503 with `"status":"notready"` for ever (releases 1.2.1 and 1.6.1 observed).
    package static func judge(_ answer: HTTPAnswer) -> ProbeOutcome {
        guard let body = try? JSONDecoder().decode(Body.self, from: Data(answer.body.readableBytesView)) else {
            return .failure(answer.words)
        }
        let endpoints = body.endpoints ?? [:]
        guard !endpoints.isEmpty else { return .failure("\(answer.status), no endpoint is named yet") }
        let waiting = endpoints.filter { $0.value.state != "ready" }.keys.sorted()
        guard let first = waiting.first else { return .success }
        let state = endpoints[first]?.state ?? "unknown"
        return .failure("endpoint \(first) is \(state)\(waiting.count > 1 ? ", and \(waiting.count - 1) more" : "")")
    }
}
