"""Pods as network namespaces, and what is done in them: see policies.py."""
import ctypes, http.client, json, os, select, socket, subprocess, time

libc = ctypes.CDLL(None, use_errno=True)


def run(*words, text=None):
    done = subprocess.run(words, input=text, text=True, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()}\n{text or ''}")
    return done.stdout


class Pod:
    def __init__(self, number, name, namespace, labels, spec=None):
        self.number, self.name, self.namespace, self.labels, self.spec = number, name, namespace, labels, spec
        self.address = f"10.244.0.{number}"
        self.process, self.ends = None, 0
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"pod{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"pod{number}", "up")
        run("ip", "route", "add", self.address, "dev", f"pod{number}")
        for words in (
            "link set lo up", "link set eth0 up", f"addr add {self.address}/32 dev eth0",
            "route add 169.254.1.1 dev eth0 scope link", "route add default via 169.254.1.1",
        ):
            run("ip", "-n", name, *words.split())

    def inside(self, function, *arguments):
        """What a function returns that runs in the pod's network."""
        return self.begin(function, *arguments)()

    def begin(self, function, *arguments):
        """Runs a function in the pod's network; what is returned waits for what it returns."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                self.enter()
                value = function(*arguments)
            except BaseException as error:
                value = {"error": repr(error)}
            os.write(writer, json.dumps(value).encode())
            os._exit(0)
        os.close(writer)

        def end():
            text = b""
            while block := os.read(reader, 65536):
                text += block
            os.close(reader)
            os.waitpid(child, 0)
            return json.loads(text)

        return end

    def enter(self):
        with open(f"/run/netns/{self.name}") as file:
            if libc.setns(file.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")


# MARK: In a pod


def answer(address, asked, limit):
    connection = http.client.HTTPConnection(address, asked["port"], timeout=limit)
    try:
        connection.request("POST", asked["path"], json.dumps(asked["body"]), {"content-type": "application/json"})
        response = connection.getresponse()
        return {"status": response.status, "text": response.read().decode()}
    except OSError as error:
        return {"error": repr(error)}
    except http.client.HTTPException as error:
        return {"error": repr(error)}


def listening():
    ports = set()
    for family in ("tcp", "tcp6"):
        # Of the caller, which /proc/net is not: it is the namespace of the process that mounted it.
        with open(f"/proc/thread-self/net/{family}") as file:
            for line in list(file)[1:]:
                local, state = line.split()[1], line.split()[3]
                host, port = local.split(":")
                loopback = host == "0100007F" or host == "00000000000000000000000001000000"
                if state == "0A" and not loopback:
                    ports.add(int(port, 16))
    return sorted(ports)


def connect(targets, limit):
    """Which of the addresses accept a connection."""
    waiting, opened = {}, []
    for target in targets:
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        one.connect_ex(tuple(target))
        waiting[one.fileno()] = (one, target)
    poll = select.poll()
    for number in waiting:
        poll.register(number, select.POLLOUT)
    deadline = time.monotonic() + limit
    while waiting and time.monotonic() < deadline:
        for number, _ in poll.poll(100):
            one, target = waiting.pop(number)
            poll.unregister(number)
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                opened.append(target)
            one.close()
    return opened


def listen(pod, ports):
    """Accepts connections at ports of a pod until everything ends."""
    child = os.fork()
    if child:
        return
    pod.enter()
    sockets = [socket.create_server(("0.0.0.0", port)) for port in ports]
    while True:
        for one in select.select(sockets, [], [])[0]:
            one.accept()[0].close()
