#!/usr/bin/env python3
"""Writes the pods that the operator makes of DynamoGraphDeployments as Pods, with the policies beside them, for judges that do not know
the custom resource.

usage: pods_of_graphs.py FOLDER TARGET     every *.yaml below FOLDER; one file for each graph and policy in a folder of TARGET
"""

import pathlib
import sys

import yaml

from graphs import pods

source, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
count = 0
for file in sorted(source.rglob("*.yaml")):
    if "operator" not in file.parts:
        continue
    written = []
    for item in yaml.safe_load_all(file.read_text()):
        if not item or item.get("kind") not in ("DynamoGraphDeployment", "NetworkPolicy"):
            continue
        if item["kind"] == "NetworkPolicy":
            written.append(item)
            continue
        for name, _, labels, spec in pods(item, "default"):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
            written.append(pod)
            count += 1
    if written:
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(yaml.safe_dump_all(written))
print(count)
sys.exit(0 if count else 1)
