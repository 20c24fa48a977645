#!/usr/bin/env python3
"""Validates Kubernetes objects strictly (no unknown field) against the schemas of many releases.

usage: validate.py [--releases 1.30,1.31] [--require KIND]... FILE-OR-FOLDER...     (a folder: all *.yaml below it; -: standard input)

Objects of Kubernetes itself are held to the schemas of the package kubernetes-validate; custom resources to the files in
schemas/ beside this script, named kind-group-version.json, which may refer to definitions of Kubernetes by
"/api/_definitions.json#/$defs/...". Prints each failure with file, object and path; the exit code is 1 then. The last line
counts objects, so that "nothing was looked at" cannot pass for "nothing is wrong".
"""

import argparse
import json
import pathlib
import re
import sys

import importlib_resources
import jsonschema
import referencing
import yaml
from referencing import Registry, Resource

RELEASES = ["1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]
OWN = pathlib.Path(__file__).resolve().parent / "schemas"
PACKAGE = importlib_resources.files("kubernetes_validate").joinpath("kubernetes-json-schema")
QUANTITY = re.compile(r"[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


class NoDuplicates(yaml.SafeLoader):
    """A loader for which a key that comes twice is an error, as it is for the API server's strict decoding."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} comes twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class Release:
    """The schemas of one release; each is read once."""

    def __init__(self, release):
        self.release = release
        self.folder = PACKAGE.joinpath(f"v{release}.0-local-strict")
        definitions = Resource.from_contents(json.loads(self.folder.joinpath("_definitions.json").read_text()))
        base = definitions.contents["$id"]
        assert base.endswith("/api/_definitions.json"), base
        self.site = base[: -len("/api/_definitions.json")]
        self.registry = Registry().with_resource(base, definitions)
        self.validators = {}

    def validator(self, version, kind):
        key = (version, kind)
        if key not in self.validators:
            self.validators[key] = self._make(version, kind)
        return self.validators[key]

    def _make(self, version, kind):
        group, _, short = version.rpartition("/")
        own = OWN / f"{kind.lower()}-{group or 'core'}-{short}.json"
        if own.exists():
            schema = json.loads(own.read_text())
            # Relative references then lead to the definitions of this release.
            schema["$id"] = f"{self.site}/own/{own.name}"
        else:
            prefix = f"{group.split('.')[0]}-" if group else ""
            file = self.folder.joinpath(f"{kind.lower()}-{prefix}{short}.json")
            if not file.is_file():
                return None
            schema = json.loads(file.read_text())
        return jsonschema.Draft202012Validator(schema, registry=self.registry)


def objects(path):
    if path == "-":
        texts = [("-", sys.stdin.read())]
    else:
        place = pathlib.Path(path)
        files = sorted(place.rglob("*.yaml")) if place.is_dir() else [place]
        texts = [(str(file), file.read_text()) for file in files]
    for name, text in texts:
        for document in yaml.load_all(text, NoDuplicates):
            if document is not None:
                yield name, document


def deepest(error):
    """Of alternatives that all failed, the one that went furthest says most."""
    while error.context:
        error = max(error.context, key=lambda e: len(e.absolute_path))
    return error


def beyond_schemas(value, path=()):
    """What the API server checks and no schema says."""
    if isinstance(value, dict):
        for key, item in value.items():
            here = path + (key,)
            if key in ("limits", "requests") and path and path[-1] == "resources" and isinstance(item, dict):
                for resource, amount in item.items():
                    if not QUANTITY.fullmatch(str(amount)):
                        yield here + (resource,), f"{amount!r} is no quantity"
            if key == "labels" and path and path[-1] in ("metadata", "template") and isinstance(item, dict):
                for label, text in item.items():
                    if not isinstance(text, str) or not LABEL_VALUE.fullmatch(text):
                        yield here + (label,), f"{text!r} is no value of a label"
            if key == "containers" and isinstance(item, list):
                names = [c.get("name") for c in item]
                for name in names:
                    if not LABEL.fullmatch(str(name)) or names.count(name) > 1:
                        yield here, f"{name!r} is no name of a container, or comes twice"
            if key == "env" and isinstance(item, list):
                names = [v.get("name") for v in item]
                for name in set(names):
                    if names.count(name) > 1:
                        yield here, f"the variable {name!r} comes twice"
                for variable in item:
                    if "value" in variable and "valueFrom" in variable:
                        yield here, f"the variable {variable['name']!r} has a value and a source"
            if key == "ports" and isinstance(item, list):
                names = [p["name"] for p in item if isinstance(p, dict) and "name" in p]
                for name in names:
                    if names.count(name) > 1 or len(str(name)) > 15:
                        yield here, f"the port {name!r} comes twice, or its name is longer than 15 characters"
            if key == "volumeMounts" and isinstance(item, list):
                paths = [m.get("mountPath") for m in item]
                for mount in set(paths):
                    if paths.count(mount) > 1:
                        yield here, f"{mount!r} is mounted twice"
            yield from beyond_schemas(item, here)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from beyond_schemas(item, path + (index,))


def schema_failures(release, version, kind, item):
    validator = release.validator(version, kind)
    if validator is None:
        yield f"there is no {kind} of {version}"
        return
    try:
        for error in validator.iter_errors(item):
            error = deepest(error)
            yield f"{'.'.join(map(str, error.absolute_path)) or 'the object'}: {error.message[:300]}"
    except referencing.exceptions.Unresolvable as error:
        yield f"the schema refers to something unknown: {error}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--releases", default=",".join(RELEASES))
    parser.add_argument("--require", action="append", default=[], help="a kind that must be among the objects")
    parser.add_argument("paths", nargs="+")
    options = parser.parse_args()
    releases = [Release(release) for release in options.releases.split(",")]
    failures = 0
    count = 0
    kinds = set()

    def fail(file, name, message):
        nonlocal failures
        failures += 1
        print(f"{file}: {name}: {message}")

    identities = {}
    for path in options.paths:
        try:
            for file, item in objects(path):
                if not isinstance(item, dict) or not isinstance(item.get("kind"), str):
                    fail(file, "?", "this document is no object")
                    continue
                version, kind = item.get("apiVersion", ""), item["kind"]
                metadata = item.get("metadata") or {}
                name = f"{kind}/{metadata.get('name')}"
                if kind == "Kustomization":
                    continue
                count += 1
                kinds.add(kind)
                identity = (pathlib.Path(file).parent, version.rpartition("/")[0], name, metadata.get("namespace"))
                if identity in identities:
                    fail(file, name, f"is also in {identities[identity]}")
                identities[identity] = file
                if not NAME.fullmatch(str(metadata.get("name"))):
                    fail(file, name, "metadata.name: this is no name of an object")
                for where, message in beyond_schemas(item):
                    fail(file, name, f"{'.'.join(map(str, where))}: {message}")
                by_message = {}
                for release in releases:
                    for message in schema_failures(release, version, kind, item):
                        by_message.setdefault(message, []).append(release.release)
                for message, where in by_message.items():
                    fail(file, name, f"{message} (Kubernetes {', '.join(where)})")
        except (OSError, yaml.YAMLError) as error:
            fail(path, "?", str(error).replace("\n", " "))
    for kind in options.require:
        if kind not in kinds:
            fail("all files", kind, "there is none")
    print(f"{count} objects, {len(releases)} releases, {failures} failures")
    sys.exit(1 if failures or count == 0 else 0)


if __name__ == "__main__":
    main()
