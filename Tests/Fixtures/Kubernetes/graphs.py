"""The pods that Dynamo's operator makes of a DynamoGraphDeployment (v1beta1), as far as labels, ports and variables go.

By ai-dynamo/dynamo, deploy/operator/internal: consts/consts.go, dynamo/component_frontend.go, component_worker.go, component_common.go
and graph.go; the worker's suffix stands for a hash.
"""

PORTS = {"frontend": ("http", 8000, "DYN_HTTP_PORT")}
WORKER = ("system", 9090, "DYN_SYSTEM_PORT")


def pods(graph, namespace):
    """Name, replicas, labels and specification of each component's pods."""
    name = graph["metadata"]["name"]
    dynamo_namespace = f"{namespace}-{name}"
    for component in graph["spec"]["components"]:
        template, kind = component["podTemplate"], component.get("type")
        labels = dict(template["metadata"]["labels"])
        labels["nvidia.com/dynamo-graph-deployment-name"] = name
        labels["nvidia.com/dynamo-component"] = component["name"]
        labels["nvidia.com/dynamo-namespace"] = dynamo_namespace
        variables = {"DYN_NAMESPACE": dynamo_namespace}
        container = dict(template["spec"]["containers"][0])
        if kind:
            labels["nvidia.com/dynamo-component-type"] = kind
            port, number, variable = PORTS.get(kind, WORKER)
            variables[variable] = str(number)
            container.setdefault("ports", [{"name": port, "containerPort": number}])
        if kind == "frontend":
            variables["DYN_NAMESPACE_PREFIX"] = dynamo_namespace
        elif kind:
            variables["DYN_NAMESPACE_WORKER_SUFFIX"] = labels["nvidia.com/dynamo-worker-hash"] = "0a1b2c3d"
        own = [{"name": key, "value": value} for key, value in variables.items()]
        container["env"] = own + graph["spec"].get("env", []) + container.get("env", [])
        spec = dict(template["spec"], containers=[container])
        yield f"{name}-{component['name']}", component.get("replicas", 1), labels, spec
