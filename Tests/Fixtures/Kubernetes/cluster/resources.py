"""The kinds of objects that the API server knows, and how it tells clients about them."""

import collections

Resource = collections.namedtuple("Resource", "group version plural kind namespaced subresources short")

TABLE = [
    Resource(group, version, plural, kind, namespaced, subresources.split(), short.split())
    for group, version, plural, kind, namespaced, subresources, short in [
        ("", "v1", "namespaces", "Namespace", False, "", "ns"),
        ("", "v1", "pods", "Pod", True, "status log proxy", "po"),
        ("", "v1", "services", "Service", True, "status proxy", "svc"),
        ("", "v1", "configmaps", "ConfigMap", True, "", "cm"),
        ("", "v1", "secrets", "Secret", True, "", ""),
        ("", "v1", "serviceaccounts", "ServiceAccount", True, "", "sa"),
        ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", True, "status", "pvc"),
        ("", "v1", "events", "Event", True, "", "ev"),
        ("apps", "v1", "deployments", "Deployment", True, "status scale", "deploy"),
        ("apps", "v1", "statefulsets", "StatefulSet", True, "status scale", "sts"),
        ("apps", "v1", "replicasets", "ReplicaSet", True, "status scale", "rs"),
        ("apps", "v1", "controllerrevisions", "ControllerRevision", True, "", ""),
        ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True, "status", "hpa"),
        ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True, "status", "pdb"),
        ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", True, "", "netpol"),
        ("rbac.authorization.k8s.io", "v1", "roles", "Role", True, "", ""),
        ("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", True, "", ""),
        ("coordination.k8s.io", "v1", "leases", "Lease", True, "", ""),
        ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True, "", ""),
        ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False, "status", "crd"),
        ("gateway.networking.k8s.io", "v1", "gateways", "Gateway", True, "status", "gtw"),
        ("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute", True, "status", ""),
        ("nvidia.com", "v1beta1", "dynamographdeployments", "DynamoGraphDeployment", True, "status", "dgd"),
    ]
]
BY_PATH = {(r.group, r.version, r.plural): r for r in TABLE}
BY_KIND = {(r.group, r.kind): r for r in TABLE}
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


def api_version(resource):
    return f"{resource.group}/{resource.version}" if resource.group else resource.version


def groups():
    """The answer to GET /apis."""
    names = dict.fromkeys(r.group for r in TABLE if r.group)
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(name) for name in names]}


def group(name):
    versions = dict.fromkeys(r.version for r in TABLE if r.group == name)
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": entries, "preferredVersion": entries[0]}


def resource_list(group_name, version):
    """The answer to GET /api/v1 or /apis/GROUP/VERSION; None: there is no such version."""
    known = [r for r in TABLE if (r.group, r.version) == (group_name, version)]
    if not known:
        return None
    entries = []
    for r in known:
        entries.append({
            "name": r.plural, "singularName": r.kind.lower(), "namespaced": r.namespaced, "kind": r.kind, "verbs": VERBS,
            "shortNames": r.short,
        })
        for sub in r.subresources:
            entry = {"name": f"{r.plural}/{sub}", "singularName": "", "namespaced": r.namespaced, "kind": r.kind, "verbs": ["get", "patch", "update"]}
            if sub == "scale":
                entry |= {"group": "autoscaling", "version": "v1", "kind": "Scale"}
            entries.append(entry)
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(known[0]), "resources": entries}


def openapi_index():
    """The answer to GET /openapi/v3."""
    paths = {}
    for r in TABLE:
        root = f"apis/{r.group}/{r.version}" if r.group else f"api/{r.version}"
        paths[root] = {"serverRelativeURL": f"/openapi/v3/{root}"}
    return {"paths": paths}


def openapi(group_name, version):
    """One version's document.

    It has what kubectl looks for: that the server itself checks fields (the parameter fieldValidation of a patch), so that nothing needs
    to be checked by the client.
    """
    paths = {}
    for r in TABLE:
        if (r.group, r.version) != (group_name, version):
            continue
        root = f"/apis/{r.group}/{r.version}" if r.group else f"/api/{r.version}"
        scope = "/namespaces/{namespace}" if r.namespaced else ""
        parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in ("dryRun", "fieldManager", "fieldValidation", "force")]
        paths[f"{root}{scope}/{r.plural}/{{name}}"] = {
            "patch": {
                "operationId": f"patch{r.kind}", "parameters": parameters, "responses": {"200": {"description": "OK"}},
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": {"group": r.group, "version": r.version, "kind": r.kind},
            }
        }
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.37.0"}, "paths": paths, "components": {"schemas": {}}}
