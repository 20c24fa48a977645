import OrderedCollections
import Testing

@testable import Deployment

/// NATS and etcd, where the deployment brings them along.
@Suite struct PlainServerTests {
    @Test func `NATS keeps its streams on a volume of its own`() throws {
        let objects = try PlainManifests.objects(PlainManifests.embedded) { plan in
            plan.settings.storage = "20Gi"
            plan.settings.storageClass = "fast"
            plan.nats?.arguments = ["--max_payload", "8MB", "--name", "$x"]
        }
        let set = try objects.one("StatefulSet", "chat-nats")["spec"]
        #expect(set["serviceName"] == "chat-nats-pods")
        let claim = set["volumeClaimTemplates"][0]["spec"]
        #expect(claim["resources"]["requests"]["storage"] == "20Gi")
        #expect(claim["storageClassName"] == "fast")
        let container = set["template"]["spec"]["containers"][0]
        #expect(container["command"] == ["nats-server"])
        #expect(
            container["args"] == [
                "--addr", "0.0.0.0", "--port", "4222", "--http_port", "8222", "--jetstream", "--store_dir", "/data",
                "--max_payload", "8MB", "--name", "$$x",
            ]
        )
        #expect(container["readinessProbe"]["httpGet"] == ["path": "/healthz", "port": "monitor"])
        // Streams that come back take their time, and a server that is slow is not dead.
        #expect(container["startupProbe"]["periodSeconds"] == 2)
        #expect(container["startupProbe"]["failureThreshold"] == 300)
        #expect(container["livenessProbe"]["tcpSocket"] == ["port": "client"])
        #expect(container["livenessProbe"]["httpGet"] == [])
        #expect(container["volumeMounts"] == [["name": "data", "mountPath": "/data"]])
    }

    @Test func `NATS without streams keeps nothing`() throws {
        let text = PlainManifests.embedded.replacing("jetstream: true", with: "jetstream: false")
        let set = try PlainManifests.objects(text).one("StatefulSet", "chat-nats")["spec"]
        #expect(set["volumeClaimTemplates"] == [])
        #expect(set["template"]["spec"]["volumes"] == [["name": "data", "emptyDir": [:]]])
        #expect(!set["template"]["spec"]["containers"][0]["args"].items.contains { $0 == "--jetstream" })
    }

    @Test func `etcd is one member that only clients reach`() throws {
        let objects = try PlainManifests.objects(PlainManifests.embedded)
        let set = try objects.one("StatefulSet", "chat-etcd")["spec"]
        let container = set["template"]["spec"]["containers"][0]
        let arguments = container["args"].items
        #expect(arguments.contains { $0 == "http://0.0.0.0:2379" })
        #expect(arguments.contains { $0 == "http://chat-etcd:2379" })
        #expect(arguments.contains { $0 == "default=http://127.0.0.1:2380" })
        #expect(container["ports"].items.count == 1)
        #expect(set["volumeClaimTemplates"].items.count == 1)
        let data = try objects.one("ConfigMap", "chat-planes")["data"]
        #expect(data["ETCD_ENDPOINTS"] == "http://chat-etcd:2379")
        #expect(data["NATS_SERVER"] == "nats://chat-nats:4222")
    }

    @Test func `servers' Services lead to their pods, and to no process of the manifest`() throws {
        let objects = try PlainManifests.objects(PlainManifests.embedded)
        for name in ["nats", "etcd"] {
            let labels = try objects.one("StatefulSet", "chat-\(name)")["spec"]["template"]["metadata"]["labels"]
            for service in ["chat-\(name)", "chat-\(name)-pods"] {
                let selector = try objects.one("Service", service)["spec"]["selector"]
                #expect(selector.keys.contains("dynamo-launch/shared"))
                for key in selector.keys { #expect(labels[key] == selector[key]) }
            }
            #expect(try objects.one("Service", "chat-\(name)-pods")["spec"]["clusterIP"] == "None")
            #expect(try objects.one("Service", "chat-\(name)")["spec"]["ports"].items.count == 1)
            #expect(labels["dynamo-launch/generation"] == [])
        }
    }

    @Test func `a server that is somewhere already is not brought along`() throws {
        let objects = try PlainManifests.objects(PlainManifests.embedded) { plan in
            plan.nats?.isManaged = false
            plan.discovery = .etcd(.init(urls: ["http://etcd:2379"], isManaged: false, image: ""))
        }
        #expect(objects.names("StatefulSet").isEmpty)
        #expect(objects.names("ServiceAccount") == ["chat"])
    }

    @Test(
        arguments: [
            ("nats://user:pa@ss@host:4222/x", "host:4222", nil), ("host", "host:9", nil),
            ("http://10.0.0.1:2379", "10.0.0.1:2379", "10.0.0.1/32"), ("http://[::1]:80/", "[::1]:80", "::1/128"),
            ("http://[2001:db8::1]", "[2001:db8::1]:9", "2001:db8::1/128"), ("10.0.0.256", "10.0.0.256:9", nil),
        ] as [(String, String, String?)]
    )
    func `an address is taken out of a URL`(_ url: String, _ text: String, _ block: String?) throws {
        let address = try #require(ServerAddress(url, port: 9))
        #expect(address.text == text)
        #expect(address.block == block)
    }

    @Test(arguments: ["", "http://", "http://host:0", "http://host:65536", "http://host:x"])
    func `what has no address is none`(_ url: String) { #expect(ServerAddress(url, port: 9) == nil) }
}
