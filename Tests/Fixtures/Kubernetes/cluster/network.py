"""The cluster's network: each pod has a network namespace and an address of its own, Services are translated by nftables.

All of it is inside the network namespace of the cluster, which goes away with the process.
"""

import itertools
import subprocess
import threading

import forwarding
import resources

NODE = "10.42.255.1"
# The node's end of every pod's cable; pods send everything there.
ROUTER = "ee:ee:ee:ee:ee:ee"
SERVICE = resources.BY_KIND["", "Service"]


def ip(lines):
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True)


class Network:
    def __init__(self):
        self.numbers, self.services = itertools.count(1), itertools.count(10)
        self.lock = threading.Lock()
        self.rules = None
        self.hosts = {}
        self.pods = set()
        ip([
            "link set lo up", f"addr add {NODE}/32 dev lo", f"route add 10.43.0.0/16 dev lo src {NODE}",
        ])
        with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("1")

    def service_address(self):
        number = next(self.services)
        return f"10.43.{number // 250}.{number % 250 + 1}"

    def connect(self, pid):
        """Gives the network namespace of a process an address."""
        number = next(self.numbers)
        address, name = f"10.42.{number // 250}.{number % 250 + 1}", f"pod{number}"
        with self.lock:
            ip([
                f"link add {name} address {ROUTER} type veth peer name eth0 netns {pid}", f"link set {name} up",
                f"route add {address}/32 dev {name} src {NODE}",
            ])
        inside = [
            "link set lo up", f"addr add {address}/32 dev eth0", "link set eth0 up", "route add 169.254.1.1 dev eth0 scope link",
            f"neigh add 169.254.1.1 lladdr {ROUTER} dev eth0 nud permanent",
            "route add default via 169.254.1.1 dev eth0",
        ]
        subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "-batch", "-"], input="\n".join(inside) + "\n", text=True, check=True)
        self.pods.add(address)
        return address

    def disconnect(self, address):
        self.pods.discard(address)

    def synchronize(self, store):
        """Makes the translation of addresses, and the names of all pods, those of the Services there are."""
        nat, closed = [], []
        for service in store.list(SERVICE)[0]:
            address, namespace = service["spec"].get("clusterIP"), service["metadata"]["namespace"]
            for port in service["spec"].get("ports", []):
                if not address or address == "None":
                    continue
                found = forwarding.endpoints(store, namespace, service, str(port["port"]))
                match = f"ip daddr {address} tcp dport {port['port']}"
                if not found:
                    closed.append(f"{match} reject with tcp reset")
                elif len(found) == 1:
                    nat.append(f"{match} dnat to {found[0][0]}:{found[0][1]}")
                else:
                    choices = ", ".join(f"{index} : {pod} . {number}" for index, (pod, number) in enumerate(found))
                    nat.append(f"{match} dnat to numgen random mod {len(found)} map {{ {choices} }}")
        loops = [f"ip saddr {pod} ip daddr {pod} masquerade" for pod in sorted(self.pods)]
        rules = "\n".join([
            "table ip services", "delete table ip services", "table ip services {",
            "chain translate {", *nat, "}", "chain closed {", *closed, "}",
            "chain prerouting { type nat hook prerouting priority -100; jump translate; }",
            "chain output { type nat hook output priority -100; jump translate; }",
            "chain postrouting { type nat hook postrouting priority 100;", *loops, "}",
            "chain refuse_own { type filter hook output priority 0; jump closed; }",
            "chain refuse_pods { type filter hook prerouting priority 0; jump closed; }", "}",
        ]) + "\n"
        with self.lock:
            if rules != self.rules:
                subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
                self.rules = rules
        self.names(store)

    def names(self, store):
        """Writes the file of names again for each pod, which stands for the cluster's DNS."""
        texts = {}
        for service in store.list(SERVICE)[0]:
            name, namespace, address = service["metadata"]["name"], service["metadata"]["namespace"], service["spec"].get("clusterIP")
            own = []
            for piece in store.list(resources.BY_KIND["discovery.k8s.io", "EndpointSlice"], namespace, f"kubernetes.io/service-name={name}")[0]:
                for point in piece["endpoints"]:
                    if address == "None" and point["conditions"]["ready"]:
                        own += [(point["addresses"][0], name), (point["addresses"][0], f"{point['targetRef']['name']}.{name}")]
            if address and address != "None":
                own.append((address, name))
            for where, what in own:
                texts.setdefault(namespace, []).append((where, what, True))
                texts.setdefault(None, []).append((where, f"{what}.{namespace}", False))
        for (path, namespace, first), old in list(self.hosts.items()):
            lines = ["127.0.0.1 localhost", first]
            lines += [f"{where} {what}" for where, what, _ in texts.get(namespace, [])]
            lines += [f"{where} {what} {what}.svc {what}.svc.cluster.local" for where, what, _ in texts.get(None, [])]
            text = "\n".join(lines) + "\n"
            if text != old:
                self.hosts[path, namespace, first] = text
                path.write_text(text)

    def add_hosts(self, path, namespace, address, name):
        path.write_text("127.0.0.1 localhost\n")
        self.hosts[path, namespace, f"{address} {name}"] = ""

    def remove_hosts(self, path):
        for key in [key for key in list(self.hosts) if key[0] == path]:
            del self.hosts[key]
