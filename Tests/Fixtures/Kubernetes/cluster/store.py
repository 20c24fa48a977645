"""The objects of the cluster, their versions, and everybody who watches them."""

import copy
import datetime
import threading
import uuid

import merging


class Refused(Exception):
    """What the API server answers instead of an object."""

    def __init__(self, code, reason, message, details=None):
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details or {}

    def status(self):
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message, "reason": self.reason,
            "details": self.details, "code": self.code,
        }


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """All state; everything that changes goes through here, one change at a time."""

    def __init__(self):
        self.changed = threading.Condition(threading.RLock())
        self.version = 1
        self.objects = {}
        # (version, ADDED, MODIFIED or DELETED, plural, object), oldest first.
        self.history = []

    @staticmethod
    def key(resource, namespace, name):
        return (resource.group, resource.plural, (namespace or "") if resource.namespaced else "", name)

    def _note(self, kind, resource, thing):
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((self.version, kind, (resource.group, resource.plural), copy.deepcopy(thing)))
        self.changed.notify_all()

    def missing(self, resource, name):
        what = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
        details = {"name": name, "group": resource.group, "kind": resource.plural}
        return Refused(404, "NotFound", f'{what} "{name}" not found', details)

    def get(self, resource, namespace, name):
        with self.changed:
            thing = self.objects.get(self.key(resource, namespace, name))
            if thing is None:
                raise self.missing(resource, name)
            return copy.deepcopy(thing)

    def find(self, resource, namespace, name):
        try:
            return self.get(resource, namespace, name)
        except Refused:
            return None

    def list(self, resource, namespace=None, labels=None, fields=None):
        with self.changed:
            things = [
                copy.deepcopy(thing) for (group, plural, where, _), thing in self.objects.items()
                if (group, plural) == (resource.group, resource.plural) and (not namespace or where == namespace) and matches(thing, labels, fields)
            ]
            return sorted(things, key=lambda thing: (thing["metadata"].get("namespace", ""), thing["metadata"]["name"])), self.version

    def create(self, resource, namespace, thing):
        with self.changed:
            fill(resource, thing)
            metadata = thing.setdefault("metadata", {})
            if "name" not in metadata and "generateName" in metadata:
                metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
            if not metadata.get("name"):
                raise invalid(resource, "", "metadata.name: Required value: name or generateName is required")
            if metadata.get("resourceVersion"):
                raise Refused(400, "BadRequest", "resourceVersion should not be set on objects to be created")
            consistent(resource, thing)
            key = self.key(resource, namespace, metadata.get("name"))
            if key in self.objects:
                what = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
                raise Refused(409, "AlreadyExists", f'{what} "{key[3]}" already exists', {"name": key[3], "kind": resource.plural})
            if resource.namespaced:
                metadata["namespace"] = namespace
            metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now(), "generation": 1}
            self.objects[key] = thing
            self._note("ADDED", resource, thing)
            return copy.deepcopy(thing)

    def update(self, resource, namespace, name, change, status=False):
        """Changes an object by a function that gets it and may change it or return another one."""
        with self.changed:
            key = self.key(resource, namespace, name)
            old = self.objects.get(key)
            if old is None:
                raise self.missing(resource, name)
            new = copy.deepcopy(old)
            new = change(new) or new
            fill(resource, new)
            seen = new["metadata"].get("resourceVersion")
            if seen is None and not (resource.group == "" or resource.group in UNCONDITIONAL):
                raise invalid(resource, name, "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update")
            if seen not in (None, old["metadata"]["resourceVersion"]) or new["metadata"].get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
                what = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
                raise Refused(
                    409, "Conflict", f'Operation cannot be fulfilled on {what} "{name}": the object has been modified; please apply '
                    "your changes to the latest version and try again", {"name": name, "group": resource.group, "kind": resource.plural})
            if "status" in resource.subresources:
                # Each of the two ways leaves alone what is the other's.
                for field in ("spec",) if status else ("status",):
                    new.pop(field, None)
                    if field in old:
                        new[field] = copy.deepcopy(old[field])
            if not status:
                unchanged(resource, old, new)
                consistent(resource, new)
            for field in ("uid", "creationTimestamp", "generation", "deletionTimestamp"):
                if field in old["metadata"]:
                    new["metadata"][field] = old["metadata"][field]
            if not status and new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] = old["metadata"]["generation"] + 1
            new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            if new != old:
                self.objects[key] = new
                self._note("MODIFIED", resource, new)
            return copy.deepcopy(new)

    def set_status(self, resource, namespace, name, status):
        """Sets the status; an object that is gone meanwhile is left alone."""
        def change(thing):
            thing["status"] = status
        try:
            return self.update(resource, namespace, name, change, status=True)
        except Refused:
            return None

    def delete(self, resource, namespace, name, grace=None):
        """Removes an object; a Pod is only marked, and removed by the kubelet."""
        with self.changed:
            key = self.key(resource, namespace, name)
            thing = self.objects.get(key)
            if thing is None:
                raise self.missing(resource, name)
            if resource.plural == "pods" and "deletionTimestamp" not in thing["metadata"]:
                seconds = thing["spec"].get("terminationGracePeriodSeconds", 30) if grace is None else grace
                thing["metadata"] |= {"deletionTimestamp": now(), "deletionGracePeriodSeconds": seconds}
                self._note("MODIFIED", resource, thing)
            elif resource.plural != "pods":
                self.remove(resource, namespace, name)
            return copy.deepcopy(thing)

    def remove(self, resource, namespace, name):
        with self.changed:
            thing = self.objects.pop(self.key(resource, namespace, name), None)
            if thing is not None:
                self._note("DELETED", resource, thing)

    def apply(self, resource, namespace, name, wanted, manager):
        """Server-side apply: what this manager applied before and does not any more goes away."""
        marker = f"fake-cluster/applied-by-{manager}"
        def change(thing):
            before = thing["metadata"].get("managedFields", [])
            last = next((entry["object"] for entry in before if entry["manager"] == marker), {})
            merging.drop(thing, last, wanted)
            merging.strategic(thing, copy.deepcopy(wanted))
            entries = [entry for entry in before if entry["manager"] != marker]
            thing["metadata"]["managedFields"] = entries + [{"manager": marker, "operation": "Apply", "object": wanted}]
        with self.changed:
            if self.key(resource, namespace, name) not in self.objects:
                self.create(resource, namespace, copy.deepcopy(wanted))
            return self.update(resource, namespace, name, change)

    def events_after(self, version, limit):
        """Waits up to `limit` seconds for changes after a version."""
        with self.changed:
            if self.version <= version:
                self.changed.wait(limit)
            first = len(self.history)
            while first > 0 and self.history[first - 1][0] > version:
                first -= 1
            return self.history[first:]


# Groups whose objects may be replaced without saying which version of them is meant.
UNCONDITIONAL = ("apps", "autoscaling", "policy", "networking.k8s.io", "rbac.authorization.k8s.io", "discovery.k8s.io")
# What may not be changed once it is there; of a StatefulSet everything else.
FIXED = {"deployments": ["selector"], "persistentvolumeclaims": ["accessModes", "storageClassName", "selector"]}
CHANGEABLE = {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"}


def invalid(resource, name, message):
    what = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    field, _, why = message.partition(": ")
    details = {"name": name, "group": resource.group, "kind": resource.kind, "causes": [{"reason": "FieldValueInvalid", "message": why, "field": field}]}
    return Refused(422, "Invalid", f'{what} "{name}" is invalid: {message}', details)


def consistent(resource, thing):
    """What belongs together in an object."""
    if resource.plural not in ("deployments", "statefulsets"):
        return
    spec = thing["spec"]
    labels = (spec["template"].get("metadata") or {}).get("labels")
    if not selects(spec["selector"], labels):
        raise invalid(resource, thing["metadata"]["name"], f"spec.template.metadata.labels: Invalid value: {labels}: `selector` does not match template `labels`")


def unchanged(resource, old, new):
    """What can only be said when an object is made."""
    name, before, after = old["metadata"]["name"], old.get("spec") or {}, new.get("spec") or {}
    for field in FIXED.get(resource.plural, []):
        if before.get(field) != after.get(field):
            raise invalid(resource, name, f"spec.{field}: Invalid value: {after.get(field)}: field is immutable")
    if resource.plural == "statefulsets" and {k: v for k, v in before.items() if k not in CHANGEABLE} != {k: v for k, v in after.items() if k not in CHANGEABLE}:
        raise invalid(resource, name, f"spec: Forbidden: updates to statefulset spec for fields other than {sorted(CHANGEABLE)} are forbidden")
    if resource.plural == "services" and before.get("clusterIP"):
        # Who says nothing keeps it.
        if after.setdefault("clusterIP", before["clusterIP"]) != before["clusterIP"]:
            raise invalid(resource, name, f"spec.clusterIPs[0]: Invalid value: {[after['clusterIP']]}: may not change once set")
    if resource.plural == "rolebindings" and old.get("roleRef") != new.get("roleRef"):
        raise invalid(resource, name, "roleRef: Invalid value: cannot change roleRef")


def fill(resource, thing):
    """Defaults that kubectl looks at."""
    spec = thing.get("spec")
    if resource.plural == "deployments":
        spec.setdefault("replicas", 1)
        spec.setdefault("progressDeadlineSeconds", 600)
        spec.setdefault("strategy", {}).setdefault("type", "RollingUpdate")
    elif resource.plural == "statefulsets":
        spec.setdefault("replicas", 1)
        update = spec.setdefault("updateStrategy", {})
        if update.setdefault("type", "RollingUpdate") == "RollingUpdate":
            update.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    elif resource.plural == "services":
        spec.setdefault("type", "ClusterIP")


def matches(thing, labels, fields):
    """Whether an object fits a label selector and a field selector, both as texts."""
    have = thing["metadata"].get("labels") or {}
    for term in split(labels):
        if " notin " in term or " in " in term:
            key, _, values = term.replace(" notin ", " in ").partition(" in ")
            inside = have.get(key.strip()) in [value.strip() for value in values.strip().strip("()").split(",")]
            if inside == (" notin " in term):
                return False
        elif "!=" in term:
            key, value = term.split("!=", 1)
            if have.get(key) == value:
                return False
        elif "=" in term:
            key, value = term.replace("==", "=").split("=", 1)
            if have.get(key.strip()) != value.strip():
                return False
        elif term.startswith("!"):
            if term[1:] in have:
                return False
        elif term not in have:
            return False
    for term in split(fields):
        path, _, value = term.replace("==", "=").partition("=")
        negated = path.endswith("!")
        found = thing
        for part in path.rstrip("!").split("."):
            found = (found or {}).get(part)
        if (str(found or "") == value) == negated:
            return False
    return True


def split(selector):
    """The terms of a selector; commas in brackets do not count."""
    terms, depth, current = [], 0, ""
    for character in selector or "":
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            terms.append(current.strip())
            current = ""
        else:
            current += character
    return [term for term in terms + [current.strip()] if term]


def selects(selector, labels):
    """Whether a selector of an object (matchLabels alone, or a Service's plain one) selects labels."""
    wanted = selector.get("matchLabels", selector) if selector else {}
    return bool(wanted) and all((labels or {}).get(key) == value for key, value in wanted.items())
