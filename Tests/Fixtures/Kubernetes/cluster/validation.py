"""Strict checks of objects against the schemas of a Kubernetes release, where the package kubernetes-validate is installed."""

import logging
import threading

from store import Refused

logging.getLogger("kubernetes-validate").disabled = True
try:
    import kubernetes_validate
except ImportError:
    kubernetes_validate = None

RELEASE = "1.30"
BUILT_IN = ("apps/", "autoscaling/", "policy/", "networking.k8s.io/", "rbac.authorization.k8s.io/", "discovery.k8s.io/", "coordination.k8s.io/")
lock = threading.Lock()


def check(thing, query):
    """Refuses an object as an API server does that was asked for fieldValidation=Strict."""
    version = thing.get("apiVersion", "")
    if kubernetes_validate is None or query.get("fieldValidation") != "Strict" or not (version == "v1" or version.startswith(BUILT_IN)):
        return
    known = {key: value for key, value in thing.items() if key != "status"}
    if "managedFields" in known.get("metadata", {}):
        known["metadata"] = {key: value for key, value in known["metadata"].items() if key != "managedFields"}
    try:
        with lock:
            kubernetes_validate.validate(known, RELEASE, strict=True)
    except kubernetes_validate.ValidationError as error:
        raise Refused(400, "BadRequest", f"strict decoding error: {error.message} at {'.'.join(map(str, error.path))}") from None
