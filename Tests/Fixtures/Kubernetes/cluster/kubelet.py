"""Runs the pods: their containers' commands are processes of this machine."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import traceback

import podspec
import probing
import resources
from store import now

POD = resources.BY_KIND["", "Pod"]
HERE = pathlib.Path(__file__).parent


class Kubelet:
    def __init__(self, store, network, folder, images, backoff):
        self.store, self.network, self.folder, self.images, self.backoff = store, network, folder, images, backoff
        self.running = {}
        self.clients_address = None
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        version = 0
        while True:
            self.store.events_after(version, 0.5)
            version = self.store.version
            for pod in self.store.list(POD)[0]:
                uid = pod["metadata"]["uid"]
                if uid not in self.running:
                    self.running[uid] = PodRunner(self, pod)


class Container:
    """One container of a pod, through all its restarts."""

    def __init__(self, spec, is_init=False):
        self.spec, self.name, self.is_init = spec, spec["name"], is_init
        self.process, self.restarts, self.started_at, self.last_exit, self.ended_at = None, 0, None, None, None
        self.is_started, self.is_ready = False, False
        self.waiting = "ContainerCreating"
        self.message = ""

    @property
    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def status(self):
        if self.is_alive:
            state = {"running": {"startedAt": self.started_at}}
        elif self.waiting:
            state = {"waiting": {"reason": self.waiting, "message": self.message}}
        else:
            state = {"terminated": self.ending()}
        return {
            "name": self.name, "image": self.spec["image"], "imageID": self.spec["image"], "ready": self.is_ready, "started": self.is_started,
            "restartCount": self.restarts, "state": state, "lastState": {"terminated": self.ending()} if self.last_exit is not None else {},
        }

    def ending(self):
        code = self.last_exit or 0
        return {"exitCode": code if code >= 0 else 128 - code, "reason": "Completed" if code == 0 else "Error", "finishedAt": self.ended_at}


class PodRunner:
    def __init__(self, kubelet, pod):
        self.kubelet, self.pod, self.store = kubelet, pod, kubelet.store
        self.namespace, self.name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self.folder = kubelet.folder / "pods" / pod["metadata"]["uid"]
        self.folder.mkdir(parents=True)
        self.address = None
        self.lock = threading.RLock()
        self.init = [Container(spec, True) for spec in pod["spec"].get("initContainers", [])]
        self.containers = [Container(spec) for spec in pod["spec"]["containers"]]
        self.is_stopping = False
        threading.Thread(target=self.run, daemon=True).start()

    # Life

    def run(self):
        try:
            self.pause = subprocess.Popen([sys.executable, HERE / "container.py", "pause"], stdout=subprocess.PIPE)
            self.pause.stdout.readline()
            self.address = self.kubelet.network.connect(self.pause.pid)
            hosts = self.folder / "hosts"
            self.kubelet.network.add_hosts(hosts, self.namespace, self.address, self.name)
            self.kubelet.network.names(self.store)
            self.report()
            threading.Thread(target=self.live, daemon=True).start()
            self.wait_for_deletion()
            self.stop()
        except Exception:
            traceback.print_exc()
        finally:
            self.kubelet.network.remove_hosts(self.folder / "hosts")
            self.kubelet.network.disconnect(self.address)
            self.pause.kill()
            self.pause.wait()
            self.store.remove(POD, self.namespace, self.name)

    def wait_for_deletion(self):
        version = 0
        while True:
            pod = self.store.find(POD, self.namespace, self.name)
            if pod is None or "deletionTimestamp" in pod["metadata"]:
                return
            version = max(version, self.store.version)
            self.store.events_after(version, 0.5)

    def live(self):
        try:
            for container in self.init:
                while not self.is_stopping:
                    if self.start(container):
                        container.last_exit, container.ended_at = container.process.wait(), now()
                        if container.last_exit == 0:
                            container.is_ready, container.waiting = True, None
                            break
                        container.restarts += 1
                    self.report()
                    time.sleep(self.kubelet.backoff)
            for container in self.containers:
                threading.Thread(target=self.supervise, args=(container,), daemon=True).start()
        except Exception:
            traceback.print_exc()

    def supervise(self, container):
        """Starts a container again whenever it ends, later each time."""
        delay = self.kubelet.backoff
        try:
            while not self.is_stopping:
                if self.start(container):
                    began = time.monotonic()
                    prober = probing.Prober(self, container)
                    container.last_exit, container.ended_at = container.process.wait(), now()
                    prober.stop()
                    if self.is_stopping:
                        break
                    container.is_ready = container.is_started = False
                    if self.pod["spec"].get("restartPolicy", "Always") == "Never":
                        container.waiting = None
                        return self.report()
                    container.restarts += 1
                    container.waiting, container.message = "CrashLoopBackOff", f"back-off {delay} s restarting failed container"
                    if time.monotonic() - began > 600:
                        delay = self.kubelet.backoff
                self.report()
                end = time.monotonic() + delay
                while time.monotonic() < end and not self.is_stopping:
                    time.sleep(0.02)
                delay = min(300, 2 * delay)
        except Exception:
            traceback.print_exc()

    def start(self, container):
        """Starts the process; False: it cannot be, and the container's status says why."""
        try:
            spec = podspec.resolve(self, container.spec)
        except podspec.NotPossible as problem:
            container.waiting, container.message = problem.reason, str(problem)
            self.report()
            return False
        path = self.folder / f"{container.name}.json"
        path.write_text(json.dumps(spec))
        os.makedirs(spec["root"], exist_ok=True)
        log = self.kubelet.folder / "logs" / f"{self.namespace}_{self.name}_{container.name}.log"
        with self.lock, open(log, "ab") as output:
            if self.is_stopping:
                return False
            container.process = subprocess.Popen(
                [sys.executable, HERE / "container.py", path], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        container.started_at, container.waiting = now(), None
        probe = container.spec
        container.is_started = "startupProbe" not in probe
        container.is_ready = container.is_started and "readinessProbe" not in probe
        self.report()
        return True

    # Its end

    def stop(self):
        pod = self.store.find(POD, self.namespace, self.name)
        grace = (pod or self.pod)["metadata"].get("deletionGracePeriodSeconds", 30)
        end = time.monotonic() + grace
        with self.lock:
            self.is_stopping = True
        self.report()
        threads = [threading.Thread(target=self.stop_container, args=(container, end), daemon=True) for container in self.init + self.containers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def stop_container(self, container, end):
        if not container.is_alive:
            return
        hook = (container.spec.get("lifecycle") or {}).get("preStop") or {}
        if "sleep" in hook:
            limit = min(end, time.monotonic() + hook["sleep"]["seconds"])
            while container.is_alive and time.monotonic() < limit:
                time.sleep(0.02)
        elif "exec" in hook:
            probing.run_inside(container.process.pid, hook["exec"]["command"], max(0.1, end - time.monotonic()))
        elif "httpGet" in hook:
            probing.hook_request(self, container, hook["httpGet"], max(0.1, end - time.monotonic()))
        self.terminate(container, end)

    def terminate(self, container, end):
        if container.is_alive:
            container.process.send_signal(signal.SIGTERM)
        while container.is_alive and time.monotonic() < end:
            time.sleep(0.02)
        self.kill(container)

    def kill(self, container):
        """Everything in the container's session: a real container's end takes all its processes along."""
        try:
            os.killpg(container.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        container.process.wait()

    def restart(self, container, why):
        """What a failed liveness or startup probe leads to."""
        container.message = why
        grace = self.pod["spec"].get("terminationGracePeriodSeconds", 30)
        self.terminate(container, time.monotonic() + grace)

    # What is told

    def report(self):
        with self.lock:
            ready = not self.is_stopping and all(c.is_ready for c in self.containers) and all(c.is_ready for c in self.init)
            initialized = all(c.is_ready for c in self.init)
            old = (self.store.find(POD, self.namespace, self.name) or {}).get("status") or {}
            stamp = now()

            def condition(kind, value):
                status = "True" if value else "False"
                before = next((c for c in old.get("conditions", []) if c["type"] == kind and c["status"] == status), None)
                return before or {"type": kind, "status": status, "lastTransitionTime": stamp}

            self.store.set_status(POD, self.namespace, self.name, {
                "phase": "Running" if initialized and any(c.is_alive for c in self.containers) else "Pending", "podIP": self.address,
                "podIPs": [{"ip": self.address}], "hostIP": "10.42.255.1", "startTime": old.get("startTime", stamp), "qosClass": "Burstable",
                "conditions": [
                    condition("PodScheduled", True), condition("Initialized", initialized), condition("ContainersReady", ready),
                    condition("Ready", ready),
                ],
                "containerStatuses": [c.status() for c in self.containers], "initContainerStatuses": [c.status() for c in self.init],
            })
