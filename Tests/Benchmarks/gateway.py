"""Measures the gateway beside nginx and HAProxy, in front of the same upstream.

usage: gateway.py [ROUNDS [SECONDS]]

The gateway is the launcher of the release build, with a manifest whose frontend is `gateway-upstream`; nginx and HAProxy are
Debian's, with one worker, and forward to that upstream too. All of them keep connections to the upstream, tell it who the
client is (X-Forwarded-For, -Proto, -Host) and name the request (X-Request-Id), pass streams on without buffering and log no
requests. With two processors or more each proxy has one for itself, and the upstream and the client (wrk) share another.

In each round all four, the bare upstream included, get the same load for some seconds, one after the other, each round in
another order; figures are medians of the rounds, ratios and differences are taken within a round:

  one connection     what a request takes longer than on the bare upstream
  16 connections     GET, and POST with a prompt: requests a second, processor time of the proxy for a request
  streams at once    16 connections that get 1000 events each, as fast as they come
  streams at a rate  100 connections that get an event every 10 ms each: processor time of the proxy for an event

Then so many clients connect, make a request each and stay; the memory that each takes is read. Ends with 1 when a limit is
missed.
"""

import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from launcher_memory import LAUNCHER, ROOT, figures, free_port

UPSTREAM = ROOT / ".build/release/gateway-upstream"
CLIENTS = 10_000
# Processor time for a request, and for an event, as a ratio to HAProxy's.
RATIO_LIMIT = 1.5
# Microseconds that the median request may take longer with one connection.
ADDED_LIMIT = 100
EVENTS = 1000
# A chunk of the upstream with one event.
EVENT_BYTES = 183

WRK = """
done = function(summary, latency, requests)
    local errors = summary.errors
    io.stderr:write(string.format('{"requests":%d,"time":%d,"bytes":%d,"errors":%d,"p50":%d,"p99":%d}',
        summary.requests, summary.duration, summary.bytes,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
"""
POST = """
wrk.method = "POST"
wrk.body = '{"model":"tiny","stream":false,"max_tokens":16,"messages":[{"role":"user","content":"Say hello to the world"}]}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer sk-0123456789abcdef"
wrk.headers["Accept"] = "application/json"
wrk.headers["User-Agent"] = "OpenAI/Python 1.99.0"
"""

# Name, script, connections, path.
LOADS = {
    "one": ("", 1, "/"),
    "get": ("", 16, "/"),
    "post": (POST, 16, "/v1/chat/completions"),
    "flow": ("", 16, f"/stream/{EVENTS}/0"),
    "rate": ("", 100, "/stream/100/10"),
}


def manifest(port: int, upstream: int, pin: list[str]) -> str:
    command = json.dumps([*pin, str(UPSTREAM), "{{port.http}}"])
    return f"""
name: gateway-benchmark
planes: {{request: tcp, events: none}}
http: {{host: 127.0.0.1, port: {port}}}
gateway: true
processes:
  upstream:
    role: frontend
    command: {command}
    ports: {{http: {upstream}}}
    probes: {{live: none, health: none, model-listed: none, model-ready: none, serving: none}}
"""


def nginx(folder: pathlib.Path, port: int, upstream: int) -> str:
    return f"""
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.error crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000; keepalive_timeout 75s;
    upstream backend {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://backend; proxy_http_version 1.1; proxy_buffering off;
            proxy_set_header Connection ""; proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Request-Id $request_id;
        }}
    }}
}}
"""


def haproxy(port: int, upstream: int) -> str:
    return f"""
global
    nbthread 1
    no strict-limits
    maxconn 16384
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    timeout http-keep-alive 75s
    option http-keep-alive
    option http-no-delay
frontend public
    bind 127.0.0.1:{port} backlog 4096
    maxconn 16384
    unique-id-format %[uuid()]
    unique-id-header X-Request-Id
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    option forwardfor
    default_backend backend
backend backend
    http-reuse always
    server upstream 127.0.0.1:{upstream}
"""


class Proxies:
    """The processes, each pinned to where it may run."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        cores = sorted(os.sched_getaffinity(0))
        self.own, self.other = (cores[0], cores[1]) if len(cores) > 1 else (cores[0], cores[0])
        self.processes: dict[str, subprocess.Popen] = {}
        upstream = free_port()
        self.ports = {"upstream": upstream}
        self.start("gateway", [LAUNCHER, "up", self.write("gateway.yaml", manifest(self.port("gateway"), upstream, self.pin()))])
        self.wait("gateway")
        self.start("nginx", ["nginx", "-c", self.write("nginx.conf", nginx(folder, self.port("nginx"), upstream))])
        self.start("HAProxy", ["haproxy", "-db", "-f", self.write("haproxy.cfg", haproxy(self.port("HAProxy"), upstream))])
        for name in self.ports:
            self.wait(name)

    def pin(self) -> list[str]:
        """What a command begins with that shares a processor with the client."""
        return ["taskset", "-c", str(self.other)]

    def port(self, name: str) -> int:
        self.ports[name] = free_port()
        return self.ports[name]

    def write(self, name: str, text: str) -> pathlib.Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def start(self, name: str, command: list) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DYN_", "NATS_"))}
        environment |= {"XDG_STATE_HOME": str(self.folder / "state"), "XDG_RUNTIME_DIR": str(self.folder)}
        with open(self.folder / f"{name}.log", "wb") as log:
            self.processes[name] = subprocess.Popen(
                ["taskset", "-c", str(self.own), *command], env=environment, stdout=log, stderr=log, cwd=self.folder
            )

    def wait(self, name: str) -> None:
        """Until it answers."""
        deadline = time.monotonic() + 30
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.ports[name]), timeout=5) as client:
                    client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
                    if client.recv(1024).startswith(b"HTTP/1.1 200 "):
                        return
            except OSError:
                pass
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text() for path in self.folder.glob("*.log"))
                sys.exit(f"{name} does not answer; the processes said:\n{logs}")
            time.sleep(0.05)

    def processor(self, name: str) -> float:
        """Seconds that a process has used; none of the upstream, which is no proxy."""
        if name not in self.processes:
            return 0
        fields = pathlib.Path(f"/proc/{self.processes[name].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            process.wait(60)


def load(proxies: Proxies, name: str, kind: str, seconds: float) -> dict[str, float]:
    """One load on one of them: what wrk says, and the proxy's processor time in microseconds."""
    script, connections, path = LOADS[kind]
    file = proxies.folder / f"{kind}.lua"
    file.write_text(script + WRK)
    url = f"http://127.0.0.1:{proxies.ports[name]}{path}"
    command = [*proxies.pin(), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(file), url]
    before = proxies.processor(name)
    said = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True).stderr
    used = (proxies.processor(name) - before) * 1e6
    result = json.loads(said)
    if result["errors"] or not result["bytes"]:
        sys.exit(f"{name} failed requests of the load '{kind}': {said}")
    # Those at a rate are mostly not over when the time is.
    counts = {"flow": result["requests"] * EVENTS, "rate": result["bytes"] / EVENT_BYTES}
    count = counts.get(kind, result["requests"])
    return {
        "rate": count / result["time"] * 1e6,
        "processor": used / count,
        "p50": result["p50"],
        "p99": result["p99"],
    }


def rounds(proxies: Proxies, count: int, seconds: int) -> list[dict[str, dict[str, dict[str, float]]]]:
    """For each round the figures by load and name; a first round warms up."""
    names = list(proxies.ports)
    results = []
    for number in range(count + 1):
        order = names[number % 4 :] + names[: number % 4]
        if number % 2:
            order.reverse()
        measured = {kind: {name: load(proxies, name, kind, seconds if number else 1) for name in order} for kind in LOADS}
        if number:
            results.append(measured)
    return results


def held(proxies: Proxies, name: str) -> float:
    """Kilobytes of resident memory for each of so many idle clients."""
    pid = proxies.processes[name].pid
    before = figures(pid)["VmRSS"]
    clients = []
    for _ in range(CLIENTS):
        client = socket.create_connection(("127.0.0.1", proxies.ports[name]), timeout=30)
        client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            part = client.recv(4096)
            if not part:
                sys.exit(f"{name} closed a connection after {len(clients)}")
            answer += part
        clients.append(client)
    after = figures(pid)["VmRSS"]
    for client in clients:
        client.close()
    return (after - before) * 1000 / CLIENTS


def median(results: list, kind: str, name: str, figure: str, minus: str | None = None, by: str | None = None) -> float:
    """Of all rounds; a difference or a ratio is taken within each."""
    values = []
    for one in results:
        value = one[kind][name][figure]
        if minus:
            value -= one[kind][minus][figure]
        if by:
            value /= one[kind][by][figure]
        values.append(value)
    return statistics.median(values)


def main(count: int, seconds: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 16384:
        sys.exit(f"at most {hard} files may be open, too few for {CLIENTS} clients; raise the limit (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dl-gateway-", dir="/tmp"))
    proxies = Proxies(folder)
    names = ("upstream", "gateway", "nginx", "HAProxy")
    misses = []
    try:
        results = rounds(proxies, count, seconds)
        memory = {name: held(proxies, name) for name in names[1:]}
    finally:
        proxies.end()
        shutil.rmtree(folder, ignore_errors=True)

    def row(title: str, values: list[float | None], digits: int, ratio: float | None = None, limit: str = "") -> None:
        cells = "".join(("" if value is None else f"{value:,.{digits}f}").rjust(11) for value in values)
        print(title.ljust(52) + cells + ("" if ratio is None else f"{ratio:.2f}").rjust(11) + limit.rjust(9))

    print(f"medians of {count} rounds of {seconds} s".ljust(52) + "".join(name.rjust(11) for name in names)
          + "to HAProxy".rjust(11) + "limit".rjust(9))
    for figure in ("p50", "p99"):
        added = [None] + [median(results, "one", name, figure, minus="upstream") for name in names[1:]]
        row(f"one connection: added {figure}, µs", added, 0, limit=f"{ADDED_LIMIT}" if figure == "p50" else "")
        if figure == "p50" and added[1] > ADDED_LIMIT:
            misses.append(f"a request takes {added[1]:.0f} µs longer, limit {ADDED_LIMIT}")
    titles = {
        "one": ("one connection: requests", "request"),
        "get": ("16 connections, GET: requests", "request"),
        "post": ("16 connections, POST: requests", "request"),
        "flow": ("16 streams at once: events", "event"),
        "rate": ("100 streams at a rate: events", "event"),
    }
    for kind, (title, unit) in titles.items():
        row(f"{title} a second", [median(results, kind, name, "rate") for name in names], 0,
            median(results, kind, "gateway", "rate", by="HAProxy"))
        if kind == "get":
            row("16 connections, GET: p99, µs", [median(results, kind, name, "p99") for name in names], 0)
        ratio = median(results, kind, "gateway", "processor", by="HAProxy")
        row(f"  processor time for each {unit}, µs",
            [None] + [median(results, kind, name, "processor") for name in names[1:]], 2, ratio, f"{RATIO_LIMIT}")
        if ratio > RATIO_LIMIT:
            misses.append(f"{title}: {ratio:.2f} times HAProxy's processor time, limit {RATIO_LIMIT}")
    row(f"{CLIENTS:,} idle clients: kB each", [None, *memory.values()], 1, memory["gateway"] / memory["HAProxy"])
    if misses:
        sys.exit("missed:\n" + "\n".join(misses))


if __name__ == "__main__":
    main(*[int(argument) for argument in sys.argv[1:3]] + [5, 2][len(sys.argv) - 1 :])
