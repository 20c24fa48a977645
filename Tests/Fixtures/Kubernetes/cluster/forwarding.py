"""Requests that are passed on to pods: the API server's service proxy, and what leads clients into the cluster."""

import http.client
import http.server
import random
import socket
import threading

import resources
from store import Refused

POD, SERVICE = resources.BY_KIND["", "Pod"], resources.BY_KIND["", "Service"]
SLICE = resources.BY_KIND["discovery.k8s.io", "EndpointSlice"]
ROUTE = resources.BY_KIND["gateway.networking.k8s.io", "HTTPRoute"]
NOT_PASSED = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection", "host", "content-length"}


def endpoints(store, namespace, service, port):
    """Addresses of the ready pods of a Service for one of its ports, by name or number."""
    entry = next((p for p in service["spec"].get("ports", []) if port in (None, p.get("name"), str(p["port"]))), None)
    if entry is None:
        return []
    found = []
    for piece in store.list(SLICE, namespace, f"kubernetes.io/service-name={service['metadata']['name']}")[0]:
        number = next((p["port"] for p in piece["ports"] if p.get("name", "") == entry.get("name", "")), None)
        found += [(address, number) for e in piece["endpoints"] if e["conditions"]["ready"] and number for address in e["addresses"]]
    return found


def through_service(handler, store, namespace, name, tail, body):
    """NAME or NAME:PORT, as in /api/v1/namespaces/NS/services/NAME:PORT/proxy/PATH."""
    name, _, port = name.partition(":")
    service = store.get(SERVICE, namespace, name)
    found = endpoints(store, namespace, service, port or None)
    if not found:
        raise Refused(503, "ServiceUnavailable", f'no endpoints available for service "{name}"')
    _, mark, query = handler.path.partition("?")
    try:
        forward(handler, random.choice(found), tail + mark + query, body)
    except OSError as error:
        raise Refused(503, "ServiceUnavailable", f"error trying to reach service: {error}") from None


def to_pod(handler, store, namespace, name, tail, body):
    """NAME:PORT, as in /api/v1/namespaces/NS/pods/NAME:PORT/proxy/PATH."""
    name, _, port = name.partition(":")
    pod = store.get(POD, namespace, name)
    _, mark, query = handler.path.partition("?")
    try:
        forward(handler, ((pod.get("status") or {}).get("podIP"), int(port)), tail + mark + query, body)
    except OSError as error:
        raise Refused(503, "ServiceUnavailable", f"error trying to reach pod: {error}") from None


def forward(handler, address, path, body):
    """Passes a request on and its answer back, piece by piece as it comes.

    An error before the answer's head is thrown; after it the client's connection is closed.
    """
    connection = http.client.HTTPConnection(*address, timeout=120)
    try:
        headers = {key: value for key, value in handler.headers.items() if key.lower() not in NOT_PASSED}
        connection.request(handler.command, path, body or None, headers)
        answer = connection.getresponse()
        if hasattr(handler, "noted"):
            handler.noted(answer.status)
        handler.send_response_only(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in NOT_PASSED:
                handler.send_header(key, value)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            while piece := answer.read1(65536):
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            handler.wfile.write(b"0\r\n\r\n")
        except (OSError, http.client.HTTPException):
            handler.close_connection = True
            handler.connection.close()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{type(error).__name__} {error}") from None
    finally:
        connection.close()


class LoadBalancer:
    """Clients' way to a Service from outside: bytes of each connection to one of its pods, chosen by the kernel."""

    def __init__(self, listener, store, namespace, name):
        self.listener, self.store, self.namespace, self.name = listener, store, namespace, name
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        service = self.store.find(SERVICE, self.namespace, self.name)
        try:
            if service is None or not service["spec"].get("clusterIP"):
                raise ConnectionError("there is no such Service")
            server = socket.create_connection((service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"]), timeout=10)
            server.settimeout(None)
        except OSError:
            # Whoever cannot be served is told so at once, by a reset.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=pump, args=(server, client), daemon=True).start()
        pump(client, server)


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Gateway(http.server.ThreadingHTTPServer):
    """A Gateway of the Gateway API: each request goes to a Service of the HTTPRoute, by the weights that it has then."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, listener, store, namespace):
        super().__init__(listener.getsockname(), GatewayHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_name, self.server_port = listener.getsockname()
        self.store, self.namespace = store, namespace


class GatewayHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def handle_request(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        store, namespace = self.server.store, self.server.namespace
        routes = store.list(ROUTE, namespace)[0]
        backends = [b for route in routes for rule in route["spec"].get("rules", []) for b in rule.get("backendRefs", []) if b.get("weight", 1) > 0]
        try:
            if not backends:
                raise ConnectionError("no route leads anywhere")
            chosen = random.choices(backends, [b.get("weight", 1) for b in backends])[0]
            service = store.find(SERVICE, namespace, chosen["name"])
            found = endpoints(store, namespace, service, str(chosen["port"])) if service else []
            if not found:
                raise ConnectionError(f"no endpoints of {chosen['name']}")
            forward(self, random.choice(found), self.path, body)
        except OSError as error:
            text = f"gateway: {error}".encode()
            try:
                self.send_response(503)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
            except OSError:
                self.close_connection = True

    do_GET = do_POST = handle_request
