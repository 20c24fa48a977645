#!/usr/bin/env python3
"""Prints what the programs of containers see, as JSON: {object: {"env": {...}, "args": [...], "labels": {...}}}.

usage: read_containers.py FILE     reads YAML as the API server's clients do, and replaces $(NAME) as the kubelet does.
"""

import json
import re
import sys

import yaml


def expand(text, variables):
    """$$ is $; $(NAME) is the variable, or stays when there is none."""

    def replace(match):
        if match.group(0) == "$$":
            return "$"
        return variables.get(match.group(1), match.group(0))

    return re.sub(r"\$\$|\$\(([^)]*)\)", replace, text)


def templates(item):
    spec = item.get("spec", {})
    if item["kind"] == "DynamoGraphDeployment":
        for component in spec.get("components", []):
            yield component["name"], component["podTemplate"]["spec"]["containers"][0], spec.get("env", [])
        for name, service in spec.get("services", {}).items():
            pod = service["extraPodSpec"]["mainContainer"]
            yield name, dict(pod, env=service.get("envs", [])), spec.get("envs", [])
    elif "template" in spec:
        yield item["metadata"]["name"], spec["template"]["spec"]["containers"][0], []


result = {}
for item in yaml.safe_load_all(open(sys.argv[1], encoding="utf-8")):
    for name, container, shared in templates(item):
        variables = {}
        for variable in shared + container.get("env", []):
            if "value" in variable:
                assert isinstance(variable["value"], str), variable
                variables[variable["name"]] = expand(variable["value"], variables)
        words = container.get("command", []) + container.get("args", [])
        assert all(isinstance(word, str) for word in words), words
        result[f"{item['kind']}/{name}"] = {"env": variables, "words": [expand(word, variables) for word in words]}
json.dump(result, sys.stdout)
