"""A small cluster on this machine, for tests: an API server that kubectl can use, and pods that are really run.

usage: cluster.py FOLDER --image PART=BIN[,PROGRAM]... [--clients NAMESPACE/SERVICE] [--gateway NAMESPACE] [--backoff SECONDS]

  FOLDER       gets kubeconfig, requests.jsonl (a line for each request), logs/ (of containers) and what pods have in volumes
  --image      images whose name has PART in it: the folder of their programs (may be empty), and the one that they run by themselves
  --clients    a port of this machine leads to that Service, by the connection, as a load balancer does
  --gateway    a port of this machine leads to the Services of that namespace's HTTPRoutes, by the request
  --backoff    how long a container that ended waits for its first restart (a kubelet: 10 s); twice as long each further time

Prints one line of JSON with the ports (api, clients, gateway) when it is there, and ends with SIGTERM. Needs root: pods have network
namespaces and mounts of their own, all inside namespaces of this process, so that nothing is left when it is gone.

What it does as a cluster does: discovery, fields checked strictly (with the package kubernetes-validate), client-side and server-side
apply, patches, watches, the service proxy, Deployments (rolling updates, progress deadline), StatefulSets, ready endpoints of Services,
names of Services, variables, volumes, init containers, probes, preStop, grace, restarts. What it does not: who may do what (RBAC),
NetworkPolicies, users of containers, limits of resources, ReplicaSets, scheduling to nodes, autoscaling.
"""

import argparse
import ctypes
import json
import os
import pathlib
import signal
import socket
import sys
import threading

import api
import controllers
import forwarding
import kubelet
import network
import resources
import store

NEWNS, NEWPID, NEWNET = 0x00020000, 0x20000000, 0x40000000


def listener():
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", 0))
    made.listen(128)
    return made


def image(text):
    part, _, rest = text.partition("=")
    folder, _, program = rest.partition(",")
    return part, folder, program


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--image", type=image, action="append", default=[])
    parser.add_argument("--clients")
    parser.add_argument("--gateway")
    parser.add_argument("--backoff", type=float, default=10)
    return parser.parse_args()


def isolate():
    """New namespaces for everything that follows; the parent only waits. Sockets that are open stay those of the machine."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEWNS | NEWPID | NEWNET) != 0:
        sys.exit(f"cluster.py: no namespaces: {os.strerror(ctypes.get_errno())}; it needs root")
    parent = os.getpid()
    child = os.fork()
    if child:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os.kill(child, signal.SIGKILL))
        _, status = os.waitpid(child, 0)
        sys.exit(0 if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status))
    libc.prctl(1, signal.SIGKILL)
    if os.getppid() not in (0, parent):
        os._exit(1)
    for target, kind, flags in ((b"/", None, 0x4000 | 0x40000), (b"/proc", b"proc", 0)):
        if libc.mount(b"none", target, kind, flags, None) != 0:
            sys.exit(f"cluster.py: mount of {target}: {os.strerror(ctypes.get_errno())}")


def main():
    options = arguments()
    folder = options.folder.resolve()
    for name in ("logs", "pods", "claims"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    sockets = {"api": listener(), "clients": listener(), "gateway": listener()}
    ports = {name: made.getsockname()[1] for name, made in sockets.items()}
    isolate()
    objects = store.Store()
    for name in ("default", "kube-system"):
        objects.create(resources.BY_KIND["", "Namespace"], None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "status": {"phase": "Active"}})
    net = network.Network()
    controllers.Controllers(objects, net)
    kubelet.Kubelet(objects, net, folder, options.image, options.backoff)
    servers = [api.Server(sockets["api"], objects, api.Recorder(folder / "requests.jsonl"), folder / "logs")]
    if options.clients:
        forwarding.LoadBalancer(sockets["clients"], objects, *options.clients.split("/"))
    if options.gateway:
        servers.append(forwarding.Gateway(sockets["gateway"], objects, options.gateway))
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "local", "users": [{"name": "tester", "user": {}}],
        "clusters": [{"name": "local", "cluster": {"server": f"http://127.0.0.1:{ports['api']}"}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "tester", "namespace": "default"}}],
    }
    (folder / "kubeconfig").write_text(json.dumps(config))
    print(json.dumps(ports), flush=True)
    servers[0].serve_forever()


main()
