"""The API server's HTTP interface, as far as kubectl uses it; every request is written to a file."""

import http.server
import json
import threading
import time
import urllib.parse

import forwarding
import merging
import resources
import validation
from store import Refused

try:
    import yaml
except ImportError:
    yaml = None


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, listener, store, recorder, logs):
        super().__init__(listener.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_name, self.server_port = listener.getsockname()
        self.store, self.recorder, self.logs = store, recorder, logs


class Recorder:
    """A line of JSON for each request."""

    def __init__(self, path):
        self.file = open(path, "a", buffering=1)
        self.lock = threading.Lock()

    def note(self, **fields):
        with self.lock:
            self.file.write(json.dumps({"time": time.time()} | fields) + "\n")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, code, thing, kind="application/json"):
        data = thing if isinstance(thing, bytes) else json.dumps(thing).encode()
        self.noted(code)
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def noted(self, code):
        self.server.recorder.note(method=self.command, path=self.path, code=code, agent=self.headers.get("User-Agent", ""))

    def handle_request(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        try:
            self.route(body)
        except Refused as refused:
            self.answer(refused.code, refused.status())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request

    def route(self, body):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        parts = [urllib.parse.unquote(part) for part in url.path.strip("/").split("/")]
        fixed = {
            "api": {"kind": "APIVersions", "versions": ["v1"]},
            "apis": resources.groups(),
            "version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0", "platform": "linux/amd64"},
            "openapi/v3": resources.openapi_index(),
        }
        whole = "/".join(parts)
        if whole in fixed:
            return self.answer(200, fixed[whole])
        if whole in ("healthz", "livez", "readyz"):
            return self.answer(200, b"ok", "text/plain")
        if parts[:2] == ["openapi", "v3"]:
            group, version = ("", parts[3]) if parts[2] == "api" else (parts[3], parts[4])
            return self.answer(200, resources.openapi(group, version))
        if parts[0] == "api" and len(parts) >= 2:
            group, version, rest = "", parts[1], parts[2:]
        elif parts[0] == "apis" and len(parts) >= 3:
            group, version, rest = parts[1], parts[2], parts[3:]
        elif parts[0] == "apis" and len(parts) == 2 and parts[1] in [r.group for r in resources.TABLE]:
            return self.answer(200, resources.group(parts[1]))
        else:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        if not rest:
            known = resources.resource_list(group, version)
            if known is None:
                raise Refused(404, "NotFound", "the server could not find the requested resource")
            return self.answer(200, known)
        namespace = None
        if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] != "status":
            namespace, rest = rest[1], rest[2:]
        resource = resources.BY_PATH.get((group, version, rest[0]))
        if resource is None:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        self.serve(resource, namespace, rest[1] if len(rest) > 1 else None, rest[2:], query, body)

    def serve(self, resource, namespace, name, sub, query, body):
        if resource.plural == "services" and sub[:1] == ["proxy"]:
            tail = "/" + "/".join(urllib.parse.quote(part) for part in sub[1:])
            return forwarding.through_service(self, self.server.store, namespace, name, tail, body)
        if resource.plural == "pods" and sub[:1] == ["proxy"]:
            tail = "/" + "/".join(urllib.parse.quote(part) for part in sub[1:])
            return forwarding.to_pod(self, self.server.store, namespace, name, tail, body)
        if sub == ["log"]:
            return self.log(namespace, name, query)
        if sub == ["scale"]:
            return self.scale(resource, namespace, name, body)
        if sub and sub != ["status"]:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        method = getattr(self, "do_" + self.command.lower())
        method(resource, namespace, name, sub == ["status"], query, body)

    def thing(self, body):
        try:
            return json.loads(body)
        except ValueError:
            if yaml is None:
                raise Refused(400, "BadRequest", "only JSON is understood") from None
            return yaml.safe_load(body)

    def fits(self, thing, resource, namespace, name):
        """The address and the object say the same."""
        metadata = thing.get("metadata") or {}
        if name is not None and metadata.get("name") != name:
            raise Refused(400, "BadRequest", f"the name of the object ({metadata.get('name', '')}) does not match the name on the URL ({name})")
        if resource.namespaced and metadata.get("namespace", namespace) != namespace:
            raise Refused(400, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request")
        if (thing.get("apiVersion", resources.api_version(resource)), thing.get("kind", resource.kind)) != (resources.api_version(resource), resource.kind):
            raise Refused(400, "BadRequest", f"{thing.get('kind')} in version {thing.get('apiVersion')} cannot be handled as a {resource.kind}")

    def known_namespace(self, resource, namespace):
        if resource.namespaced and self.server.store.find(resources.BY_KIND["", "Namespace"], None, namespace) is None:
            raise Refused(404, "NotFound", f'namespaces "{namespace}" not found', {"name": namespace, "kind": "namespaces"})

    def do_get(self, resource, namespace, name, _status, query, _body):
        store = self.server.store
        if name is not None:
            return self.answer(200, store.get(resource, namespace, name))
        selection = query.get("labelSelector"), query.get("fieldSelector")
        if query.get("watch") in ("1", "true"):
            return self.watch(resource, namespace, query, *selection)
        items, version = store.list(resource, namespace, *selection)
        self.answer(200, {
            "kind": f"{resource.kind}List", "apiVersion": resources.api_version(resource), "metadata": {"resourceVersion": str(version)},
            "items": items,
        })

    def watch(self, resource, namespace, query, labels, fields):
        from store import matches
        store = self.server.store
        self.noted(200)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

        def send(kind, thing):
            data = json.dumps({"type": kind, "object": thing}).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

        end = time.monotonic() + float(query.get("timeoutSeconds") or 300)
        version = int(query.get("resourceVersion") or 0)
        if query.get("sendInitialEvents") == "true" or version == 0:
            items, version = store.list(resource, namespace, labels, fields)
            for item in items:
                send("ADDED", item)
            if query.get("sendInitialEvents") == "true":
                metadata = {"resourceVersion": str(version), "annotations": {"k8s.io/initial-events-end": "true"}}
                send("BOOKMARK", {"kind": resource.kind, "apiVersion": resources.api_version(resource), "metadata": metadata})
        while time.monotonic() < end:
            for version, kind, which, thing in store.events_after(version, 1):
                if which == (resource.group, resource.plural) and namespace in (None, thing["metadata"].get("namespace")) and matches(thing, labels, fields):
                    send(kind, thing)
        self.wfile.write(b"0\r\n\r\n")

    def do_post(self, resource, namespace, _name, _status, query, body):
        thing = self.thing(body)
        self.fits(thing, resource, namespace, None)
        self.known_namespace(resource, namespace)
        validation.check(thing, query)
        thing.setdefault("apiVersion", resources.api_version(resource))
        thing.setdefault("kind", resource.kind)
        if query.get("dryRun"):
            return self.answer(201, thing)
        self.answer(201, self.server.store.create(resource, namespace, thing))

    def do_put(self, resource, namespace, name, status, query, body):
        thing = self.thing(body)
        self.fits(thing, resource, namespace, name)
        validation.check(thing, query)
        self.answer(200, self.server.store.update(resource, namespace, name, lambda _: thing, status))

    def do_patch(self, resource, namespace, name, status, query, body):
        patch, store = self.thing(body), self.server.store
        kind = self.headers.get("Content-Type", "").split(";")[0]
        if kind == "application/apply-patch+yaml":
            self.known_namespace(resource, namespace)
            self.fits(patch, resource, namespace, name)
            validation.check(patch, query)
            return self.answer(200, store.apply(resource, namespace, name, patch, query.get("fieldManager", "")))
        change = {
            "application/merge-patch+json": merging.merge, "application/strategic-merge-patch+json": merging.strategic,
            "application/json-patch+json": merging.json_patch,
        }.get(kind)
        if change is None:
            raise Refused(415, "UnsupportedMediaType", f"a patch of the type {kind} is not understood")

        def whole(thing):
            changed = change(thing, patch) or thing
            validation.check(changed, query)
            return changed

        try:
            if query.get("dryRun"):
                return self.answer(200, whole(store.get(resource, namespace, name)))
            self.answer(200, store.update(resource, namespace, name, whole, status))
        except (KeyError, ValueError, IndexError) as error:
            raise Refused(422, "Invalid", f"the server rejected our request due to an error in our request: {error}") from None

    def do_delete(self, resource, namespace, name, _status, query, body):
        options = self.thing(body) if body else {}
        store = self.server.store
        names = [name] if name is not None else [
            item["metadata"]["name"] for item in store.list(resource, namespace, query.get("labelSelector"), query.get("fieldSelector"))[0]
        ]
        grace = options.get("gracePeriodSeconds")
        if query.get("dryRun") or options.get("dryRun"):
            return self.answer(200, store.get(resource, namespace, name))
        gone = [store.delete(resource, namespace, each, grace) for each in names]
        uid = gone[0]["metadata"]["uid"] if name is not None else ""
        details = {"name": name or "", "kind": resource.plural, "group": resource.group, "uid": uid}
        self.answer(200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    def scale(self, resource, namespace, name, body):
        store = self.server.store
        if body:
            wanted = self.thing(body)["spec"]["replicas"]
            store.update(resource, namespace, name, lambda thing: thing["spec"].__setitem__("replicas", wanted))
        thing = store.get(resource, namespace, name)
        metadata = {key: thing["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
        self.answer(200, {
            "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {"replicas": thing["spec"].get("replicas", 1)},
            "status": {"replicas": (thing.get("status") or {}).get("replicas", 0)},
        })

    def log(self, namespace, name, query):
        pod = self.server.store.get(resources.BY_KIND["", "Pod"], namespace, name)
        container = query.get("container") or pod["spec"]["containers"][0]["name"]
        path = self.server.logs / f"{namespace}_{name}_{container}.log"
        data = path.read_bytes() if path.exists() else b""
        lines = data.splitlines(keepends=True)
        if query.get("tailLines"):
            lines = lines[-int(query["tailLines"]):]
        self.answer(200, b"".join(lines), "text/plain")
