"""What makes the cluster be as its objects say: Deployments, StatefulSets, Services and their EndpointSlices."""

import copy
import hashlib
import json
import math
import threading
import time
import traceback
import uuid

import resources
from store import Refused, now, selects

POD, DEPLOYMENT, STATEFUL_SET = resources.BY_KIND["", "Pod"], resources.BY_KIND["apps", "Deployment"], resources.BY_KIND["apps", "StatefulSet"]
SERVICE, SLICE = resources.BY_KIND["", "Service"], resources.BY_KIND["discovery.k8s.io", "EndpointSlice"]


def template_hash(template):
    return hashlib.sha1(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def is_ready(pod):
    return "deletionTimestamp" not in pod["metadata"] and any(
        c["type"] == "Ready" and c["status"] == "True" for c in (pod.get("status") or {}).get("conditions", [])
    )


def condition(old, kind, status, reason, message=""):
    """A condition; its time is that of its last change."""
    before = next((c for c in (old or {}).get("conditions", []) if c["type"] == kind), None)
    new = {"type": kind, "status": "True" if status else "False", "reason": reason, "message": message}
    if before and all(before.get(key) == value for key, value in new.items()):
        return before
    stamp = now()
    since = before["lastTransitionTime"] if before and before["status"] == new["status"] else stamp
    return new | {"lastTransitionTime": since, "lastUpdateTime": stamp}


class Controllers:
    def __init__(self, store, network):
        self.store, self.network = store, network
        self.progress = {}
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        version = 0
        while True:
            self.store.events_after(version, 0.25)
            version = self.store.version
            try:
                self.reconcile()
            except Refused:
                continue  # Somebody removed something meanwhile: once more.
            except Exception:
                traceback.print_exc()

    def reconcile(self):
        self.collect()
        for deployment in self.store.list(DEPLOYMENT)[0]:
            self.deployment(deployment)
        for stateful_set in self.store.list(STATEFUL_SET)[0]:
            self.stateful_set(stateful_set)
        for service in self.store.list(SERVICE)[0]:
            self.service(service)
        self.slices()
        self.network.synchronize(self.store)

    def owned(self, owner):
        uid = owner["metadata"]["uid"]
        return [
            pod for pod in self.store.list(POD, owner["metadata"]["namespace"])[0]
            if any(reference["uid"] == uid for reference in pod["metadata"].get("ownerReferences", []))
        ]

    def collect(self):
        """Removes pods whose owner is gone."""
        owners = {thing["metadata"]["uid"] for kind in (DEPLOYMENT, STATEFUL_SET) for thing in self.store.list(kind)[0]}
        for pod in self.store.list(POD)[0]:
            references = pod["metadata"].get("ownerReferences", [])
            if references and "deletionTimestamp" not in pod["metadata"] and not any(r["uid"] in owners for r in references):
                self.delete(pod)

    def delete(self, pod):
        self.store.delete(POD, pod["metadata"]["namespace"], pod["metadata"]["name"])

    def make_pod(self, owner, name, revision, labels):
        template = copy.deepcopy(owner["spec"]["template"])
        metadata = template.get("metadata") or {}
        reference = {
            "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
            "controller": True, "blockOwnerDeletion": True,
        }
        pod = {
            "apiVersion": "v1", "kind": "Pod", "spec": template["spec"], "status": {"phase": "Pending"},
            "metadata": {
                "name": name, "labels": (metadata.get("labels") or {}) | labels,
                "annotations": (metadata.get("annotations") or {}) | {"fake-cluster/revision": revision}, "ownerReferences": [reference],
            },
        }
        self.store.create(POD, owner["metadata"]["namespace"], pod)

    def deployment(self, deployment):
        spec, metadata = deployment["spec"], deployment["metadata"]
        wanted = spec.get("replicas", 1)
        revision = template_hash(spec["template"])
        pods = [pod for pod in self.owned(deployment) if "deletionTimestamp" not in pod["metadata"]]
        everything = self.owned(deployment)
        new = [pod for pod in pods if pod["metadata"]["annotations"]["fake-cluster/revision"] == revision]
        old = [pod for pod in pods if pod not in new]
        strategy = spec.get("strategy") or {}
        if strategy.get("type") == "Recreate":
            for pod in old:
                self.delete(pod)
            allowed = wanted if len(everything) == len(new) else 0
        else:
            rolling = strategy.get("rollingUpdate") or {}
            surge = share(rolling.get("maxSurge", "25%"), wanted, math.ceil)
            unavailable = share(rolling.get("maxUnavailable", "25%"), wanted, math.floor)
            allowed = wanted + max(surge, 1 if unavailable == 0 else 0)
            ready = sum(map(is_ready, pods))
            for pod in sorted(old, key=is_ready):
                if not is_ready(pod) or ready - 1 >= wanted - unavailable:
                    ready -= is_ready(pod)
                    self.delete(pod)
        for pod in sorted(new, key=is_ready)[: max(0, len(new) - wanted)]:
            self.delete(pod)
        for _ in range(min(wanted - len(new), allowed - len(pods))):
            name = f"{metadata['name']}-{revision[:9]}-{uuid.uuid4().hex[:5]}"
            self.make_pod(deployment, name, revision, {"pod-template-hash": revision})
        self.deployment_status(deployment, wanted, pods, new)

    def deployment_status(self, deployment, wanted, pods, new):
        metadata, old = deployment["metadata"], deployment.get("status")
        ready, ready_new = sum(map(is_ready, pods)), sum(map(is_ready, new))
        complete = ready_new == wanted == len(new) == len(pods)
        state = (metadata["generation"], len(new), ready_new, len(pods))
        key = metadata["uid"]
        if self.progress.get(key, (None,))[0] != state:
            self.progress[key] = (state, time.monotonic())
        limit = deployment["spec"].get("progressDeadlineSeconds", 600)
        name = metadata["name"]
        before = next((c for c in (old or {}).get("conditions", []) if c["type"] == "Progressing"), {})
        if complete:
            progressing = condition(old, "Progressing", True, "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.')
        elif before.get("reason") == "NewReplicaSetAvailable" and len(new) == len(pods) and metadata["generation"] == old.get("observedGeneration"):
            # Only a rollout can be too slow: one that had ended has ended, whatever its pods do.
            progressing = before
        elif time.monotonic() - self.progress[key][1] > limit:
            progressing = condition(old, "Progressing", False, "ProgressDeadlineExceeded", f'ReplicaSet "{name}" has timed out progressing.')
        else:
            progressing = condition(old, "Progressing", True, "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
        available = condition(old, "Available", ready >= wanted, "MinimumReplicasAvailable" if ready >= wanted else "MinimumReplicasUnavailable")
        self.store.set_status(DEPLOYMENT, metadata["namespace"], name, {
            "observedGeneration": metadata["generation"], "replicas": len(pods), "updatedReplicas": len(new), "readyReplicas": ready,
            "availableReplicas": ready, "unavailableReplicas": max(0, wanted - ready), "conditions": [available, progressing],
        })

    def stateful_set(self, stateful_set):
        spec, metadata = stateful_set["spec"], stateful_set["metadata"]
        wanted, name = spec.get("replicas", 1), metadata["name"]
        revision = template_hash(spec["template"])
        pods = {pod["metadata"]["name"]: pod for pod in self.owned(stateful_set)}
        parallel = spec.get("podManagementPolicy") == "Parallel"
        for index in range(wanted):
            pod = pods.get(f"{name}-{index}")
            if pod is None:
                labels = {"statefulset.kubernetes.io/pod-name": f"{name}-{index}", "apps.kubernetes.io/pod-index": str(index)}
                self.make_pod(stateful_set, f"{name}-{index}", f"{name}-{revision}", labels)
            if not parallel and (pod is None or not is_ready(pod)):
                break
        current = [pod for pod in pods.values() if pod["metadata"]["annotations"]["fake-cluster/revision"] == f"{name}-{revision}"]
        for pod in pods.values():
            surplus = int(pod["metadata"]["name"].rsplit("-", 1)[1]) >= wanted
            outdated = pod not in current and (all(map(is_ready, pods.values())) or not is_ready(pod))
            if "deletionTimestamp" not in pod["metadata"] and (surplus or outdated):
                self.delete(pod)
                break
        ready = sum(map(is_ready, pods.values()))
        updated = f"{name}-{revision}"
        self.store.set_status(STATEFUL_SET, metadata["namespace"], name, {
            "observedGeneration": metadata["generation"], "replicas": len(pods), "readyReplicas": ready, "availableReplicas": ready,
            "currentReplicas": len(current), "updatedReplicas": len(current), "updateRevision": updated,
            "currentRevision": updated if len(current) == wanted else "", "collisionCount": 0,
        })

    def service(self, service):
        """Gives a Service an address of its own."""
        spec, metadata = service["spec"], service["metadata"]
        if not spec.get("clusterIP"):
            address = self.network.service_address()
            self.store.update(SERVICE, metadata["namespace"], metadata["name"], lambda thing: thing["spec"].update(
                clusterIP=thing["spec"].get("clusterIP") or address, type=thing["spec"].get("type", "ClusterIP")
            ))

    def slices(self):
        services = {(s["metadata"]["namespace"], s["metadata"]["name"]): s for s in self.store.list(SERVICE)[0] if s["spec"].get("selector")}
        for piece in self.store.list(SLICE)[0]:
            where = (piece["metadata"]["namespace"], piece["metadata"]["labels"]["kubernetes.io/service-name"])
            if where not in services:
                self.store.delete(SLICE, where[0], piece["metadata"]["name"])
        for (namespace, name), service in services.items():
            pods = [
                pod for pod in self.store.list(POD, namespace)[0]
                if selects(service["spec"]["selector"], pod["metadata"].get("labels")) and (pod.get("status") or {}).get("podIP")
            ]
            points = [{
                "addresses": [pod["status"]["podIP"]], "nodeName": "node", "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": namespace},
                "conditions": {
                    "ready": is_ready(pod) or bool(service["spec"].get("publishNotReadyAddresses")), "serving": is_ready(pod),
                    "terminating": "deletionTimestamp" in pod["metadata"],
                },
            } for pod in pods]
            ports = [
                {"name": p.get("name", ""), "port": target(p, pods), "protocol": p.get("protocol", "TCP")} for p in service["spec"].get("ports", [])
            ]
            wanted = {"addressType": "IPv4", "endpoints": points, "ports": [p for p in ports if p["port"]]}
            piece = self.store.find(SLICE, namespace, f"{name}-fixed")
            if piece is None:
                metadata = {"name": f"{name}-fixed", "labels": {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}}
                self.store.create(SLICE, namespace, {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata} | wanted)
            elif any(piece.get(key) != value for key, value in wanted.items()):
                self.store.update(SLICE, namespace, f"{name}-fixed", lambda thing: thing.update(wanted))


def share(value, whole, rounded):
    return rounded(whole * int(value[:-1]) / 100) if isinstance(value, str) and value.endswith("%") else int(value)


def target(port, pods):
    """The number of a Service's port in the pods; a name is looked up in the first pod that has it."""
    wanted = port.get("targetPort", port["port"])
    if isinstance(wanted, int):
        return wanted
    for pod in pods:
        for container in pod["spec"]["containers"]:
            for own in container.get("ports", []):
                if own.get("name") == wanted:
                    return own["containerPort"]
    return None
