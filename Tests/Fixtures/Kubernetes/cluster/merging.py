"""Patches: merge patches, strategic merge patches and JSON patches."""

# Lists whose elements are merged by a key.
KEYS = {
    "containers": ["name"], "initContainers": ["name"], "env": ["name"], "volumes": ["name"], "volumeMounts": ["mountPath"],
    "ports": ["containerPort", "port"], "imagePullSecrets": ["name"], "conditions": ["type"], "ownerReferences": ["uid"],
    "hostAliases": ["ip"], "topologySpreadConstraints": ["topologyKey"],
}


def merge(target, patch):
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            target[key] = merge(target[key] if isinstance(target.get(key), dict) else {}, value)
        else:
            target[key] = value
    return target


def strategic(target, patch):
    """What kubectl sends for kinds that it knows."""
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    retained = patch.pop("$retainKeys", None)
    if retained is not None:
        for key in [key for key in target if key not in retained]:
            del target[key]
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            target[key] = strategic(target[key] if isinstance(target.get(key), dict) else {}, value)
        elif isinstance(value, list) and key_of(key, value):
            target[key] = elements(target.get(key) or [], value, key_of(key, value))
        else:
            target[key] = value
    return target


def key_of(field, elements_):
    for key in KEYS.get(field, []):
        if elements_ and all(isinstance(element, dict) and key in element for element in elements_):
            return key
    return None


def elements(have, wanted, key):
    result = list(have)
    for element in wanted:
        index = next((i for i, old in enumerate(result) if old.get(key) == element[key]), None)
        if element.get("$patch") == "delete":
            if index is not None:
                del result[index]
        elif index is None:
            result.append(element)
        else:
            result[index] = strategic(dict(result[index]), element)
    return result


def drop(target, last, wanted):
    """Takes out of an object what was applied last and is not wanted now."""
    for key, value in last.items():
        if key not in wanted:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(wanted[key], dict) and isinstance(target.get(key), dict):
            drop(target[key], value, wanted[key])
        elif isinstance(value, list) and isinstance(wanted[key], list) and (field := key_of(key, value)):
            names = [element.get(field) for element in wanted[key]]
            gone = [element[field] for element in value if element[field] not in names]
            target[key] = [element for element in target.get(key) or [] if element.get(field) not in gone]
            for element in target[key]:
                before = next((e for e in value if e[field] == element.get(field)), None)
                after = next((e for e in wanted[key] if e.get(field) == element.get(field)), None)
                if before and after:
                    drop(element, before, after)


def json_patch(target, operations):
    """RFC 6902: add, replace, remove and test."""
    for operation in operations:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        parent = target
        for part in parts[:-1]:
            parent = parent[int(part)] if isinstance(parent, list) else parent[part]
        last = parts[-1]
        if isinstance(parent, list):
            last = len(parent) if last == "-" else int(last)
        if operation["op"] == "test":
            if parent[last] != operation["value"]:
                raise ValueError(f"test of {operation['path']} failed")
        elif operation["op"] == "remove":
            del parent[last]
        elif operation["op"] == "add" and isinstance(parent, list):
            parent.insert(last, operation["value"])
        else:
            parent[last] = operation["value"]
    return target
