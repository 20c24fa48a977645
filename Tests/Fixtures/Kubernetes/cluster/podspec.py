"""What a container's specification means for the process that stands for it."""

import base64
import re

import resources

CONFIG_MAP, SECRET, SERVICE = resources.BY_KIND["", "ConfigMap"], resources.BY_KIND["", "Secret"], resources.BY_KIND["", "Service"]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NotPossible(Exception):
    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


def resolve(runner, container):
    """The specification that container.py runs."""
    folder, entrypoint = image(runner.kubelet.images, container["image"])
    variables = environment(runner, container)
    command = [expand(word, variables) for word in container.get("command") or ([entrypoint] if entrypoint else [])]
    command += [expand(word, variables) for word in container.get("args") or []]
    if not command:
        raise NotPossible("CreateContainerError", "no command specified")
    security = container.get("securityContext") or {}
    # Names are in the file of hosts; there is no DNS server to wait for.
    resolver = runner.folder / "resolv.conf"
    resolver.write_text("")
    mounts = [{"source": str(runner.folder / "hosts"), "path": "/etc/hosts", "readOnly": False}]
    mounts.append({"source": str(resolver), "path": "/etc/resolv.conf", "readOnly": False})
    mounts += volumes(runner, container)
    path = f"{folder}:{PATH}" if folder else PATH
    return {
        "network": runner.pause.pid, "root": str(runner.folder / f"root-{container['name']}"), "mounts": mounts,
        "readOnly": bool(security.get("readOnlyRootFilesystem")), "directory": container.get("workingDir"), "command": command,
        "environment": {"PATH": path, "HOME": "/", "HOSTNAME": runner.name} | variables,
    }


def image(images, name):
    """The folder of an image's programs, and the program that it runs by itself; an image is known by a part of its name."""
    for part, folder, entrypoint in images:
        if part in name:
            return folder, entrypoint
    raise NotPossible("ErrImagePull", f"there is no image like {name}")


def expand(text, variables):
    """$(NAME) becomes the value of the variable, $$ a dollar."""
    def replacement(found):
        if found.group(0) == "$$":
            return "$"
        return variables.get(found.group(1), found.group(0))
    return re.sub(r"\$\$|\$\(([^)]*)\)", replacement, text)


def data_of(runner, resource, name, optional):
    thing = runner.store.find(resource, runner.namespace, name)
    if thing is None:
        if optional:
            return {}
        raise NotPossible("CreateContainerConfigError", f'{resource.kind.lower()} "{name}" not found')
    plain = dict(thing.get("data") or {})
    if resource is SECRET:
        plain = {key: base64.b64decode(value).decode() for key, value in plain.items()} | (thing.get("stringData") or {})
    return plain


def environment(runner, container):
    variables = {}
    if runner.pod["spec"].get("enableServiceLinks", True):
        for service in runner.store.list(SERVICE, runner.namespace)[0]:
            address, ports = service["spec"].get("clusterIP"), service["spec"].get("ports")
            if address and address != "None" and ports:
                name = service["metadata"]["name"].upper().replace("-", "_")
                number = str(ports[0]["port"])
                variables |= {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": number, f"{name}_PORT": f"tcp://{address}:{number}"}
    for source in container.get("envFrom") or []:
        resource, reference = (CONFIG_MAP, source["configMapRef"]) if "configMapRef" in source else (SECRET, source["secretRef"])
        for key, value in data_of(runner, resource, reference["name"], reference.get("optional")).items():
            variables[source.get("prefix", "") + key] = value
    for entry in container.get("env") or []:
        if "valueFrom" not in entry:
            variables[entry["name"]] = expand(entry.get("value", ""), variables)
            continue
        source = entry["valueFrom"]
        if "fieldRef" in source:
            variables[entry["name"]] = field(runner, source["fieldRef"]["fieldPath"])
            continue
        resource, reference = (CONFIG_MAP, source.get("configMapKeyRef")) if "configMapKeyRef" in source else (SECRET, source.get("secretKeyRef"))
        if reference is None:
            raise NotPossible("CreateContainerConfigError", f"a source of a variable that is not understood: {source}")
        values = data_of(runner, resource, reference["name"], reference.get("optional"))
        if reference["key"] in values:
            variables[entry["name"]] = values[reference["key"]]
        elif not reference.get("optional"):
            raise NotPossible("CreateContainerConfigError", f"couldn't find key {reference['key']} in {resource.kind} {runner.namespace}/{reference['name']}")
    return variables


def field(runner, path):
    metadata = runner.pod["metadata"]
    for part, values in (("metadata.labels", metadata.get("labels")), ("metadata.annotations", metadata.get("annotations"))):
        if path.startswith(part + "['"):
            return (values or {}).get(path[len(part) + 2:-2], "")
    return {
        "metadata.name": runner.name, "metadata.namespace": runner.namespace, "metadata.uid": metadata["uid"], "status.podIP": runner.address,
        "status.podIPs": runner.address, "status.hostIP": "10.42.255.1", "spec.nodeName": "node",
        "spec.serviceAccountName": runner.pod["spec"].get("serviceAccountName", "default"),
    }[path]


def volumes(runner, container):
    """What is mounted where; folders are made on the machine for what volumes hold."""
    known = {volume["name"]: volume for volume in runner.pod["spec"].get("volumes") or []}
    mounts = []
    for entry in container.get("volumeMounts") or []:
        volume = known.get(entry["name"], {"name": entry["name"], "persistentVolumeClaim": {"claimName": f"{entry['name']}-{runner.name}"}})
        source = runner.folder / "volumes" / entry["name"]
        if "persistentVolumeClaim" in volume:
            source = runner.kubelet.folder / "claims" / runner.namespace / volume["persistentVolumeClaim"]["claimName"]
        source.mkdir(parents=True, exist_ok=True)
        files = {}
        if "configMap" in volume:
            files = data_of(runner, CONFIG_MAP, volume["configMap"]["name"], volume["configMap"].get("optional"))
        elif "secret" in volume:
            files = data_of(runner, SECRET, volume["secret"]["secretName"], volume["secret"].get("optional"))
        elif "hostPath" in volume:
            source = volume["hostPath"]["path"]
        for name, text in files.items():
            (source / name).write_text(text)
        if entry.get("subPath"):
            source = source / entry["subPath"]
        mounts.append({"source": str(source), "path": entry["mountPath"], "readOnly": bool(entry.get("readOnly")) or bool(files)})
    return mounts
