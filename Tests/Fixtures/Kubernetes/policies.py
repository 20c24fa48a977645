#!/usr/bin/env python3
"""Runs the pods of rendered objects in network namespaces behind their NetworkPolicies, and says which connections are open.

usage: unshare --mount --net --pid --fork --kill-child --mount-proc python3 policies.py CONFIGURATION.json

Everything is in namespaces of its own, so nothing of the machine is touched and all of it ends with this process. Each pod has a network
namespace with one address; the policies become rules of nftables between them, and Services addresses that lead to pods. The keys of
the configuration:

objects     a file with the rendered objects
namespace   of objects that name none
programs    what stands for an image's program: name on the image's PATH -> path here
images      variables that an image would have, for all containers
folder      an empty folder for what the processes write
service     the Service that is asked, and what is asked of it: name, path, body, text (that the answer must contain)
strangers   pods that belong to nothing: name -> {namespace, labels, ports}
removals    purposes of rules that are taken away one at a time
result      where the result is written, as JSON:
    open      connections that could be opened, "FROM -> TO:PORT"; a port that the system chose is "any"
    closed    how many could not
    probes    what the probes of the containers said: "POD KIND" -> "" or why not
    control   whether it answered as soon as it is asked to when a rule is away
    removed   for each rule that was taken away, whether the Service still answered
    answer    what the Service answered at first
"""
import http.client, ipaddress, json, os, signal, socket, subprocess, sys, time, yaml

from graphs import pods as pods_of
from pods import Pod, answer, connect, listen, listening, run

EPHEMERAL = range(32768, 61000)
# Of one container.
MOST_ENDS = 5


class Cluster:
    def __init__(self, configuration):
        self.configuration = configuration
        with open(configuration["objects"]) as file:
            self.objects = [one for one in yaml.safe_load_all(file) if one]
        run("mount", "-t", "tmpfs", "fresh", "/run")
        run("ip", "link", "set", "lo", "up")
        run("ip", "addr", "add", "169.254.1.1/32", "dev", "lo")
        with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("1")
        self.pods = []
        for owner in self.of("StatefulSet") + self.of("Deployment"):
            template = owner["spec"]["template"]
            for index in range(owner["spec"].get("replicas", 1)):
                self.add(f"{owner['metadata']['name']}-{index}", self.namespace(owner), template["metadata"]["labels"], template["spec"])
        for graph in self.of("DynamoGraphDeployment"):
            for name, replicas, labels, spec in pods_of(graph, self.namespace(graph)):
                for index in range(replicas):
                    self.add(f"{name}-{index}", self.namespace(graph), labels, spec)
        for name, stranger in configuration["strangers"].items():
            self.add(name, stranger["namespace"], stranger.get("labels", {}))
        self.services = {}
        for service in self.of("Service"):
            if service["spec"].get("clusterIP") != "None":
                self.services[service["metadata"]["name"]] = (f"10.96.0.{len(self.services) + 1}", service)
        hosts = os.path.join(configuration["folder"], "hosts")
        with open(hosts, "w") as file:
            file.write("127.0.0.1 localhost\n")
            for name, (address, service) in self.services.items():
                namespace = self.namespace(service)
                file.write(f"{address} {name} {name}.{namespace} {name}.{namespace}.svc.cluster.local\n")
        run("mount", "--bind", hosts, "/etc/hosts")
        self.lead()

    def of(self, kind):
        return [one for one in self.objects if one["kind"] == kind]

    def namespace(self, one):
        return one["metadata"].get("namespace", self.configuration["namespace"])

    def add(self, name, namespace, labels, spec=None):
        self.pods.append(Pod(len(self.pods) + 2, name, namespace, labels, spec))

    def pod(self, name):
        return next(pod for pod in self.pods if pod.name == name)

    # MARK: Services

    def lead(self):
        """Services' addresses lead to one of their pods."""
        rules = []
        for address, service in self.services.values():
            for pod in self.pods:
                if pod.spec and pod.namespace == self.namespace(service) and matches(service["spec"]["selector"], pod.labels):
                    for port in service["spec"]["ports"]:
                        target = self.number(port.get("targetPort", port["port"]), pod)
                        rules.append(f"ip daddr {address} tcp dport {port['port']} dnat to {pod.address}:{target}")
                    break
        run("nft", "-f", "-", text="table ip services { chain lead { type nat hook prerouting priority dstnat;\n" + "\n".join(rules) + "\n}\n}\n")

    @staticmethod
    def number(port, pod):
        if isinstance(port, int):
            return port
        for container in pod.spec["containers"]:
            for one in container.get("ports", []):
                if one["name"] == port:
                    return one["containerPort"]
        raise SystemExit(f"pod {pod.name} has no port '{port}'")

    # MARK: Policies

    def rules(self):
        """Every rule that admits something: (policy, direction, index, purpose)."""
        found = []
        for policy in self.of("NetworkPolicy"):
            for direction in ("ingress", "egress"):
                purposes = policy["metadata"].get("annotations", {}).get(f"dynamo-launch/{direction}", "").split(", ")
                for index, _ in enumerate(policy["spec"].get(direction, [])):
                    found.append((policy["metadata"]["name"], direction, index, purposes[index]))
        return found

    def enforce(self, removed=None):
        """Puts the policies into force, all but one rule.

        A connection is marked with the two rules that admitted it, what its opener may open and what the other side accepts, so
        that those of a rule that is taken away end. What is closed is dropped, or, while a rule is away, refused at once.
        """
        numbers = {rule[:3]: number + 1 for number, rule in enumerate(self.rules())}
        closing = "meta l4proto tcp reject with tcp reset" if removed else "drop"
        chains, outs, ins, stale = [], [], [], ""
        if removed:
            shift, mask = (16, "0xffff0000") if removed[1] == "egress" else (0, "0x0000ffff")
            stale = f"ct state established ct mark and {mask} == {hex(numbers[removed[:3]] << shift)} reject with tcp reset"
        for pod in self.pods:
            for direction, other, table, shift in (("egress", "to", outs, 16), ("ingress", "from", ins, 0)):
                policies = [
                    policy for policy in self.of("NetworkPolicy")
                    if self.namespace(policy) == pod.namespace
                    and direction.capitalize() in policy["spec"]["policyTypes"]
                    and selects(policy["spec"]["podSelector"], pod.labels)
                ]
                if not policies:
                    continue
                lines = []
                for policy in policies:
                    for index, rule in enumerate(policy["spec"].get(direction, [])):
                        key = (policy["metadata"]["name"], direction, index)
                        if removed and key == removed[:3]:
                            continue
                        addresses = self.addresses(rule.get(other), self.namespace(policy))
                        for port in rule.get("ports", []):
                            lines.append(self.line(direction, addresses, port, pod, numbers[key] << shift))
                lines.append(closing)
                chain = f"{direction}{pod.number}"
                chains.append(f"chain {chain} {{\n" + "\n".join(filter(None, lines)) + "\n}")
                table.append(f"{pod.address} : jump {chain}")
        maps = [
            f"ip {end} vmap {{ {', '.join(table)} }}" for end, table in (("saddr", outs), ("daddr", ins)) if table
        ]
        forward = "\n".join(
            ["type filter hook forward priority filter; policy accept;", stale, "ct state established,related accept",
             "ct state invalid drop"] + maps)
        run("nft", "-f", "-", text=f"table ip policies {{}}\ndelete table ip policies\ntable ip policies {{\n"
            + "\n".join(chains) + f"\nchain forward {{\n{forward}\n}}\n}}\n")

    def line(self, direction, addresses, port, pod, mark):
        if addresses == []:
            return ""
        where = "" if addresses is None else f"ip {'daddr' if direction == 'egress' else 'saddr'} {{ {', '.join(addresses)} }} "
        number = port["port"] if isinstance(port["port"], int) else self.number(port["port"], pod)
        last = f"-{port['endPort']}" if "endPort" in port else ""
        verdict = "return" if direction == "egress" else "accept"
        return f"{where}{port.get('protocol', 'TCP').lower()} dport {number}{last} ct mark set ct mark or {hex(mark)} {verdict}"

    def addresses(self, peers, namespace):
        """Addresses that the peers of a rule stand for; None: all."""
        if peers is None:
            return None
        found = []
        for peer in peers:
            if "ipBlock" in peer:
                if peer["ipBlock"].get("except"):
                    raise SystemExit("ipBlock.except is not understood")
                if ipaddress.ip_network(peer["ipBlock"]["cidr"]).version == 4:
                    found.append(peer["ipBlock"]["cidr"])
                continue
            for pod in self.pods:
                spaces = peer.get("namespaceSelector")
                inside = pod.namespace == namespace if spaces is None else selects(
                    spaces, {"kubernetes.io/metadata.name": pod.namespace})
                if inside and selects(peer.get("podSelector", {}), pod.labels):
                    found.append(pod.address)
        return sorted(set(found))

    # MARK: Processes

    def start(self):
        for pod in self.pods:
            if pod.spec:
                pod.log = open(os.path.join(self.configuration["folder"], f"{pod.name}.log"), "wb")
                self.later(pod)

    def later(self, pod):
        """Starts a pod's containers, the first ones to wait one after another."""
        environment = dict(self.configuration["images"])
        waits = [self.words(container, pod) for container in pod.spec.get("initContainers", [])]
        container = pod.spec["containers"][0]
        environment.update(self.variables(container, pod))
        pod.words = self.words(container, pod)
        pod.environment = environment
        pod.process = os.fork()
        if pod.process:
            return
        try:
            os.dup2(pod.log.fileno(), 1)
            os.dup2(pod.log.fileno(), 2)
            pod.enter()
            for words in waits:
                subprocess.run(words, env=dict(self.configuration["images"]), check=True)
            os.chdir(self.configuration["folder"])
            os.execve(pod.words[0], pod.words, environment)
        except BaseException as error:
            print(repr(error), flush=True)
        os._exit(1)

    def variables(self, container, pod):
        result = {}
        for source in container.get("envFrom", []):
            name = source["configMapRef"]["name"]
            result.update(next(one for one in self.of("ConfigMap") if one["metadata"]["name"] == name)["data"])
        for variable in container.get("env", []):
            if "value" in variable:
                result[variable["name"]] = variable["value"].replace("$$", "$")
            else:
                path = variable["valueFrom"]["fieldRef"]["fieldPath"]
                result[variable["name"]] = {
                    "metadata.name": pod.name, "metadata.namespace": pod.namespace, "metadata.uid": pod.name,
                    "status.podIP": pod.address,
                }[path]
        return result

    def words(self, container, pod):
        words = [word.replace("$$", "$") for word in container["command"] + container.get("args", [])]
        words[0] = self.configuration["programs"].get(os.path.basename(words[0]), words[0])
        for mount in container.get("volumeMounts", []):
            # A volume is a folder of the pod.
            if mount["mountPath"] in ("/tmp", "/dev/shm"):
                continue
            folder = os.path.join(self.configuration["folder"], pod.name + mount["mountPath"].replace("/", "-"))
            os.makedirs(folder, exist_ok=True)
            words = [word.replace(mount["mountPath"], folder) if word.startswith(mount["mountPath"]) else word for word in words]
        return words

    def restart(self):
        """Starts containers that have ended again, as a kubelet does; returns those that end again and again, with the end of what they said.

        One that needs a server may be there before it.
        """
        given_up = []
        for pod in self.pods:
            if pod.process and os.waitpid(pod.process, os.WNOHANG)[0]:
                pod.process = None
                pod.ends += 1
                if pod.ends <= MOST_ENDS:
                    self.later(pod)
                    continue
                with open(pod.log.name, errors="replace") as file:
                    given_up.append(f"{pod.name} has ended {pod.ends} times: {file.read()[-2000:]}")
        return given_up

    # MARK: Questions

    def ask(self, limit):
        """What a client in a pod of its own gets from the Service."""
        asked = self.configuration["service"]
        return self.pod(asked["from"]).inside(answer, self.services[asked["name"]][0], asked, limit)

    def serves(self, limit):
        """Asks until there is a whole answer, or the time is over."""
        deadline = time.monotonic() + limit
        while True:
            said = self.ask(5)
            if asked_text(said, self.configuration["service"]["text"]):
                return said
            given_up = self.restart()
            if given_up or time.monotonic() > deadline:
                raise SystemExit("\n".join([f"no answer: {said}"] + given_up + self.logs()))
            time.sleep(0.5)

    def logs(self):
        texts = []
        for pod in self.pods:
            if pod.spec:
                with open(pod.log.name, errors="replace") as file:
                    texts.append(f"--- {pod.name}\n{file.read()[-3000:]}")
        return texts

    def listening(self):
        """Every port that accepts connections from others: pod name -> ports."""
        result = {}
        for pod in self.pods:
            ports = pod.inside(listening)
            if ports:
                result[pod.name] = ports
        return result

    def probe(self, pod):
        """What the probes of a pod's container say, as a kubelet asks them: from the node, or in the container."""
        results = {}
        container = pod.spec["containers"][0]
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(kind)
            if not probe:
                continue
            why = ""
            if "exec" in probe:
                words = probe["exec"]["command"]
                words = [self.configuration["programs"].get(os.path.basename(words[0]), words[0])] + words[1:]
                done = subprocess.run(
                    ["nsenter", f"--net=/run/netns/{pod.name}"] + words, env=pod.environment, capture_output=True, text=True)
                why = done.stderr.strip() if done.returncode else ""
            elif "httpGet" in probe:
                try:
                    connection = http.client.HTTPConnection(pod.address, self.number(probe["httpGet"]["port"], pod), timeout=5)
                    connection.request("GET", probe["httpGet"]["path"])
                    status = connection.getresponse().status
                    why = "" if 200 <= status < 400 else str(status)
                except OSError as error:
                    why = repr(error)
            else:
                try:
                    socket.create_connection((pod.address, self.number(probe["tcpSocket"]["port"], pod)), 5).close()
                except OSError as error:
                    why = repr(error)
            results[f"{pod.name} {kind}"] = why
        return results


# MARK: Selectors


def matches(labels, of):
    return all(of.get(name) == value for name, value in labels.items())


def selects(selector, labels):
    if not matches(selector.get("matchLabels", {}), labels):
        return False
    for one in selector.get("matchExpressions", []):
        if one["operator"] != "In":
            raise SystemExit(f"operator {one['operator']} is not understood")
        if labels.get(one["key"]) not in one["values"]:
            return False
    return True


# MARK: The test


def asked_text(said, text):
    return said.get("status") == 200 and text in said["text"]


def main():
    with open(sys.argv[1]) as file:
        configuration = json.load(file)
    cluster = Cluster(configuration)
    cluster.enforce()
    for name, stranger in configuration["strangers"].items():
        if stranger.get("ports"):
            listen(cluster.pod(name), stranger["ports"])
    cluster.start()
    result = {"answer": cluster.serves(60)["text"], "open": [], "closed": 0, "removed": {}, "probes": {}}
    for pod in cluster.pods:
        if pod.spec:
            result["probes"].update(cluster.probe(pod))
    listening_ports = cluster.listening()
    result["listening"] = listening_ports
    names = {pod.address: pod.name for pod in cluster.pods}
    attempts = []
    for source in cluster.pods:
        targets = [
            (cluster.pod(name).address, port) for name, ports in listening_ports.items() if name != source.name for port in ports
        ]
        result["closed"] += len(targets)
        attempts.append((source, source.begin(connect, targets, 1.0)))
    for source, end in attempts:
        for address, port in end():
            result["closed"] -= 1
            result["open"].append(f"{source.name} -> {names[address]}:{'any' if port in EPHEMERAL else port}")
    result["control"] = asked_text(cluster.ask(1.5), configuration["service"]["text"])
    for rule in cluster.rules():
        if rule[3] not in configuration["removals"]:
            continue
        cluster.enforce(rule)
        said = cluster.ask(1.5)
        result["removed"][f"{rule[0]} {rule[1]} {rule[3]}"] = asked_text(said, configuration["service"]["text"])
        cluster.enforce()
        cluster.serves(30)
    with open(configuration["result"], "w") as file:
        json.dump(result, file)
    for pod in cluster.pods:
        if pod.process:
            os.kill(pod.process, signal.SIGKILL)


main()
