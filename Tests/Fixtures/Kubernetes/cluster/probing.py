"""Probes of containers, which decide whether they are started, ready and alive."""

import http.client
import socket
import subprocess
import threading
import time


class Prober:
    """Probes one run of a container."""

    def __init__(self, runner, container):
        self.runner, self.container = runner, container
        self.process = container.process
        self.stopped = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()

    def stop(self):
        self.stopped.set()

    def run(self):
        startup = self.container.spec.get("startupProbe")
        if startup and not self.startup(startup):
            return
        for name, act in (("readinessProbe", self.readiness), ("livenessProbe", self.liveness)):
            if name in self.container.spec:
                threading.Thread(target=self.repeat, args=(self.container.spec[name], act), daemon=True).start()

    def startup(self, probe):
        state = {}

        def act(good, failures):
            if good or failures >= probe.get("failureThreshold", 3):
                state["good"] = good
                return False
            return True

        self.repeat(probe, act)
        if state.get("good"):
            self.container.is_started = True
            self.container.is_ready = "readinessProbe" not in self.container.spec
            self.runner.report()
        elif "good" in state:
            self.runner.restart(self.container, "the startup probe failed")
        return state.get("good")

    def readiness(self, good, failures):
        threshold = self.container.spec["readinessProbe"].get("failureThreshold", 3)
        ready = good or (self.container.is_ready and failures < threshold)
        if ready != self.container.is_ready and not self.stopped.is_set():
            self.container.is_ready = ready
            self.runner.report()
        return True

    def liveness(self, good, failures):
        if not good and failures >= self.container.spec["livenessProbe"].get("failureThreshold", 3):
            self.runner.restart(self.container, "the liveness probe failed")
            return False
        return True

    def repeat(self, probe, act):
        """Probes until `act`, which gets the result and the failures in a row, returns False."""
        failures = 0
        self.stopped.wait(probe.get("initialDelaySeconds", 0))
        while not self.stopped.is_set() and not self.runner.is_stopping:
            began = time.monotonic()
            good = once(self.runner, self.container, probe)
            failures = 0 if good else failures + 1
            if self.stopped.is_set() or not act(good, failures):
                return
            self.stopped.wait(max(0, probe.get("periodSeconds", 10) - (time.monotonic() - began)))


def once(runner, container, probe):
    limit = probe.get("timeoutSeconds", 1)
    try:
        if "httpGet" in probe:
            return 200 <= http_status(runner, container, probe["httpGet"], limit) < 400
        if "tcpSocket" in probe:
            socket.create_connection((runner.address, port(container, probe["tcpSocket"]["port"])), timeout=limit).close()
            return True
        if "exec" in probe:
            return run_inside(container.process.pid, probe["exec"]["command"], limit) == 0
        raise ValueError(f"a probe that is not understood: {probe}")
    except (OSError, http.client.HTTPException):
        return False


def port(container, wanted):
    if isinstance(wanted, int):
        return wanted
    return next(p["containerPort"] for p in container.spec.get("ports", []) if p.get("name") == wanted)


def http_status(runner, container, get, limit):
    connection = http.client.HTTPConnection(runner.address, port(container, get["port"]), timeout=limit)
    try:
        headers = {entry["name"]: entry["value"] for entry in get.get("httpHeaders", [])}
        connection.request("GET", get.get("path", "/"), headers={"User-Agent": "kube-probe/1.37"} | headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def hook_request(runner, container, get, limit):
    """A hook, whose failure changes nothing."""
    try:
        http_status(runner, container, get, limit)
    except (OSError, http.client.HTTPException):
        pass


def run_inside(pid, command, limit):
    """Runs a command in the container of a process; its exit code, 124 when it takes too long."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = [entry.split(b"=", 1) for entry in file.read().split(b"\0") if b"=" in entry]
        whole = ["nsenter", "-t", str(pid), "-n", "-m", "-r", "-w", "--", *command]
        return subprocess.run(whole, env=dict(pairs), timeout=limit, stdin=subprocess.DEVNULL, capture_output=True).returncode
    except subprocess.TimeoutExpired:
        return 124
