internal import Deployment
internal import NIOCore
internal import NIOPosix

/// Asks one probe.
///
/// The kinds that the supervisor answers by itself (process, exec, log line, notify) do not come here.
struct ProbeRunner: Sendable {
    let namespace: String
    let requestPlane: RequestPlaneProbe

    func ask(_ probe: Probe, timeout: Duration) async -> ProbeOutcome {
        do {
            switch probe {
            case .process, .exec, .logLine, .notify:
                return .failure("not a question for the network")
            case .tcp(let host, let port):
                return await TCPProbe.ask(host: host, port: port, timeout: timeout)
            case .http(let url, let statuses, let text):
                let answer = try await HTTPClient.send(HTTPRequest(url: url), timeout: timeout)
                return Self.judge(answer, statuses: statuses, text: text)
            case .natsPing(let url):
                return await NATSPing.ask(url: url, timeout: timeout)
            case .systemHealth(let url):
                let answer = try await HTTPClient.send(HTTPRequest(url: url), timeout: timeout)
                return SystemHealth.judge(answer)
            case .modelListed(let base, let model):
                return try await ModelProbe(baseURL: base, model: model, timeout: timeout).listed()
            case .modelReady(let base, let model):
                return try await ModelProbe(baseURL: base, model: model, timeout: timeout).ready()
            case .generate(let base, let model, let canary):
                let probe = ModelProbe(baseURL: base, model: model, timeout: .seconds(canary.timeout))
                return try await probe.generates(canary)
            case .requestPlane(let component, let endpoint):
                return await self.requestPlane(component, endpoint, self.namespace)
            }
        } catch {
            return .failure("\(error)")
        }
    }

    static func judge(_ answer: HTTPAnswer, statuses: [Int], text: String?) -> ProbeOutcome {
        let isExpected = statuses.isEmpty ? answer.isSuccess : statuses.contains(answer.status)
        guard isExpected else { return .failure(answer.words) }
        guard let text, !String(buffer: answer.body).contains(text) else { return .success }
        return .failure("\(answer.status), but the body does not contain '\(text)'")
    }
}

/// Asks an endpoint of every instance of a namespace on the request plane: component, endpoint, namespace.
package typealias RequestPlaneProbe =
    @Sendable (_ component: String, _ endpoint: String, _ namespace: String) async -> ProbeOutcome

extension HTTPAnswer {
    /// Status and the beginning of the body, for people.
    package var words: String {
        let body = String(buffer: self.body).split(whereSeparator: \.isNewline).joined(separator: " ").trimmed
        return body.isEmpty ? "\(self.status)" : "\(self.status): \(body.count > 200 ? body.prefix(197) + "..." : body)"
    }
}

/// Whether a port accepts connections.
package enum TCPProbe {
    static func ask(host: String, port: Int, timeout: Duration) async -> ProbeOutcome {
        await self.failure(host: host, port: port, timeout: timeout).map { .failure("\($0)") } ?? .success
    }

    /// Why a port accepts no connection; nil: it does.
    package static func failure(host: String, port: Int, timeout: Duration) async -> HTTPFailure? {
        let limit = TimeAmount(timeout)
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connectTimeout(limit)
        do {
            let channel: any Channel
            if let address = try? SocketAddress(ipAddress: host, port: port) {
                channel = try await bootstrap.connect(to: address).get()
            } else {
                channel = try await bootstrap.connect(host: host, port: port).get()
            }
            channel.close(promise: nil)
            return nil
        } catch {
            return HTTPClient.failure(from: error)
        }
    }
}
