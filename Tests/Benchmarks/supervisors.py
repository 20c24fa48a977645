"""Measures the launcher as a process manager beside others, each with the same children.

usage: supervisors.py [--processes N] [--rounds N] [--managers A,B,...] [--launcher FILE]
       after apt-get install --no-install-recommends runit s6

The launcher is that of the release build. supervisord, circus and honcho are installed from PyPI, once, into the folder that
Tests/run.sh uses; runit and s6 are Debian's.

A child is one small static program that connects to a socket of the benchmark and stays there: the benchmark sees at
once when it is up, and when it is gone. In each round each manager gets a start, one after the other, each round in
another order:

  start      from starting the manager until all children are up
  memory     of the manager with its helper processes (keepers, one supervisor for each child), without the children:
             resident (pages that several of them map count in each), how much of that is data of their own instead of pages of
             files, and divided (Pss: pages that several processes map are divided among them)
  idle       processor time of the same processes in a second, with nothing to do, and how often they were woken
  restart    from SIGKILL of one child until its successor is up; median of some, each another child
  stop       from the signal that ends the manager until the last child and the last helper are gone

Each restarts at once, without a delay of a policy: initialDelay: 0 here, startsecs=0 for supervisord. What is left of delays
is of their making: supervisord looks for what has ended once a second, circus each check_delay (its default is one second;
a second column has 50 ms, which it pays for when idle), s6 waits a second before each restart. honcho has no restart: when one
child ends, it ends all.

Figures are medians of the rounds; ratios (manager to launcher, more than 1: the launcher is ahead) are taken within each.
Ends with 1 when something did not start, restart or end, or the launcher was behind supervisord in starting,
stopping or restarting.

A short run: supervisors.py --managers dynamo-launch,supervisord --processes 20 --rounds 1
"""

import argparse
import collections.abc
import contextlib
import ctypes
import functools
import os
import pathlib
import selectors
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib

from launcher_memory import LAUNCHER, descendants, figures

PACKAGES = ("supervisor==4.3.0", "circus==0.19.0", "honcho==2.0.0", "psutil==7.2.2", "pyzmq==27.3.0", "tornado==6.6.1")
SETTLE, IDLE = 1.0, 2.0
KILLS = 3
# In these the launcher has to be ahead of that one.
HELD, HELD_TO = ("start", "stop", "restart"), "supervisord"
# Nothing that is measured takes longer, in seconds.
LIMIT = 60.0
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

CHILD = r"""
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int count, char **arguments) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char byte;
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (count != 2 || connection < 0) return 1;
    strncpy(address.sun_path, arguments[1], sizeof address.sun_path - 1);
    if (connect(connection, (struct sockaddr *)&address, sizeof address) != 0) return 1;
    while (read(connection, &byte, 1) > 0) {}  // ends with the benchmark, whatever becomes of the manager
    return 0;
}
"""


class Children:
    """The children that are up, by process id."""

    def __init__(self, address: pathlib.Path) -> None:
        self.up: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(address))
        self.listener.listen(4096)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)

    def accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self.listener.accept()
                pid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
                self.up[pid] = connection
                self.selector.register(connection, selectors.EVENT_READ, functools.partial(self.gone, pid, connection))

    def gone(self, pid: int, connection: socket.socket) -> None:
        self.selector.unregister(connection)
        connection.close()
        if self.up.get(pid) is connection:
            del self.up[pid]

    def watch(self, pids: list[int]) -> set[int]:
        """The descriptors of those processes that are left, which get fewer while `wait` waits."""
        left = set()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                left.add(os.pidfd_open(pid))
        for descriptor in left:
            self.selector.register(descriptor, selectors.EVENT_READ, functools.partial(self.ended, descriptor, left))
        return left

    def ended(self, descriptor: int, left: set[int]) -> None:
        self.selector.unregister(descriptor)
        os.close(descriptor)
        left.remove(descriptor)

    def wait(self, done: collections.abc.Callable[[], bool], limit: float = LIMIT) -> bool:
        """False when it was not so in time."""
        deadline = time.monotonic() + limit
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for key, _ in self.selector.select(left):
                key.data()
        return True


class Manager:
    """What one manager is started with. `files` writes its settings into a new folder and gives the command."""

    def __init__(self, files: collections.abc.Callable, ending: int = signal.SIGTERM, restarts: bool = True) -> None:
        self.files, self.ending, self.restarts = files, ending, restarts


def manifest(launcher: pathlib.Path) -> collections.abc.Callable:
    def files(folder: pathlib.Path, count: int, child: list[str]) -> list[str]:
        (folder / "manifest.yaml").write_text(f"""
name: supervisors-benchmark
planes: {{request: tcp, events: none}}
http: {{host: 127.0.0.1, port: auto}}
gateway: false
processes:
  up:
    role: infrastructure
    command: [{", ".join(child)}]
    replicas: {count}
    restart: {{policy: always, initialDelay: 0, jitter: 0, maxRestarts: none}}
""")
        return [str(launcher), "up", str(folder / "manifest.yaml")]

    return files


def supervisord(binaries: pathlib.Path) -> collections.abc.Callable:
    def files(folder: pathlib.Path, count: int, child: list[str]) -> list[str]:
        (folder / "logs").mkdir()
        (folder / "supervisord.conf").write_text(f"""
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}/logs
minfds=4096
[program:up]
command={" ".join(child)}
process_name=up-%(process_num)d
numprocs={count}
autorestart=true
startsecs=0
redirect_stderr=true
""")
        return [str(binaries / "supervisord"), "-c", str(folder / "supervisord.conf")]

    return files


def circus(binaries: pathlib.Path, delay: float) -> collections.abc.Callable:
    def files(folder: pathlib.Path, count: int, child: list[str]) -> list[str]:
        (folder / "circus.ini").write_text(f"""
[circus]
endpoint = ipc://{folder}/control
pubsub_endpoint = ipc://{folder}/events
check_delay = {delay}
[watcher:up]
cmd = {" ".join(child)}
numprocesses = {count}
copy_env = true
""")
        return [str(binaries / "circusd"), str(folder / "circus.ini")]

    return files


def honcho(binaries: pathlib.Path) -> collections.abc.Callable:
    def files(folder: pathlib.Path, count: int, child: list[str]) -> list[str]:
        (folder / "Procfile").write_text(f"up: exec {' '.join(child)}\n")
        (folder / ".env").write_text("")
        return [str(binaries / "honcho"), "-d", str(folder), "start", "-c", f"up={count}"]

    return files


def scanned(*command: str) -> collections.abc.Callable:
    """runit and s6 take the same folders."""

    def files(folder: pathlib.Path, count: int, child: list[str]) -> list[str]:
        for number in range(count):
            service = folder / "services" / f"up-{number}"
            service.mkdir(parents=True)
            (service / "run").write_text(f"#!/bin/sh\nexec {' '.join(child)}\n")
            (service / "run").chmod(0o755)
        return [*command, str(folder / "services")]

    return files


def environment() -> pathlib.Path:
    """The folder of the programs that PyPI has; made under its name only once it is whole."""
    caches = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    cache = pathlib.Path(os.environ.get("DYNAMO_TEST_CACHE") or caches / "dynamo-launch-tests")
    folder = cache / f"process-managers-{zlib.crc32(repr((PACKAGES, sys.version)).encode())}"
    if not (folder / "complete").exists():
        print(f"installing {', '.join(PACKAGES)} into {folder} (once)", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True)
        (folder / "complete").touch()
    return folder / "bin"


def processor(pids: list[int]) -> tuple[int, int]:
    """Nanoseconds on a processor, and how often they came onto one, of all threads."""
    time_on, turns = 0, 0
    for pid in pids:
        for thread in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                on, _, count = map(int, thread.read_text().split())
                time_on, turns = time_on + on, turns + count
    return time_on, turns


def reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def end_all(children: Children) -> None:
    """Ends whatever was started, however far it came."""
    deadline = time.monotonic() + 10
    while (left := descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        children.wait(lambda: False, 0.05)
        reap()


def measure(manager: Manager, count: int, program: pathlib.Path, folder: pathlib.Path) -> dict[str, float]:
    """The figures of one start by name; times in seconds, memory in MB, processor time in milliseconds a second."""
    folder.mkdir()
    address = folder / "up"
    children = Children(address)
    command = manager.files(folder, count, [str(program), str(address)])
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("DYN_", "NATS_"))}
    variables |= {"XDG_STATE_HOME": str(folder / "state"), "XDG_RUNTIME_DIR": str(folder)}
    result: dict[str, float] = {}

    def fail(what: str) -> None:
        log = (folder / "log").read_text(errors="replace")[-3000:]
        sys.exit(f"{command[0]}: {what} within {LIMIT:.0f} s, or it ended ({len(children.up)} of {count} are up);"
                 f" its output:\n{log}")

    try:
        with open(folder / "log", "wb") as log:
            begin = time.monotonic()
            process = subprocess.Popen(
                command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True,
                preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, manager.ending))
        itself = children.watch([process.pid])
        if not children.wait(lambda: len(children.up) >= count or not itself) or not itself:
            fail("not all were started")
        result["start"] = time.monotonic() - begin
        children.wait(lambda: False, SETTLE)
        if len(children.up) != count:
            fail("not all stayed")

        helpers = [pid for pid in descendants(os.getpid()) if pid not in children.up]
        memory = [figures(pid) for pid in helpers]
        result["resident"] = sum(one["VmRSS"] for one in memory)
        result["own"] = sum(one["RssAnon"] for one in memory)
        result["divided"] = sum(one["Pss"] for one in memory)
        result["helpers"] = len(helpers) - 1

        before, from_time = processor(helpers), time.monotonic()
        children.wait(lambda: False, IDLE)
        after, passed = processor(helpers), time.monotonic() - from_time
        result["idle"] = (after[0] - before[0]) / 1e6 / passed
        result["woken"] = (after[1] - before[1]) / passed

        latencies = []
        for number in range(KILLS if manager.restarts else 0):
            known = set(children.up)
            killed_at = time.monotonic()
            os.kill(sorted(known)[number * count // KILLS], signal.SIGKILL)
            if not children.wait(lambda: set(children.up) - known or not itself) or not itself:
                fail("a child that was killed did not come back")
            latencies.append(time.monotonic() - killed_at)
            # Not in step with what looks once a second.
            children.wait(lambda: False, 0.1 + 0.037 * number)
        if latencies:
            result["restart"] = statistics.median(latencies)

        left = children.watch([pid for pid in descendants(os.getpid()) if pid not in children.up])
        begin = time.monotonic()
        process.send_signal(manager.ending)
        if not children.wait(lambda: not left and not children.up):
            fail("not all ended")
        result["stop"] = time.monotonic() - begin
        return result
    finally:
        end_all(children)
        process.wait()
        children.listener.close()
        children.selector.close()
        shutil.rmtree(folder, ignore_errors=True)


# Figure, title, factor, digits.
ROWS = (
    ("start", "start of {count}, ms", 1e3, 0),
    ("stop", "stop of {count}, ms", 1e3, 0),
    ("restart", "restart of one, ms", 1e3, 1),
    ("resident", "resident memory, MB", 1, 1),
    ("own", "  its own data (no pages of files), MB", 1, 1),
    ("divided", "memory, shared pages divided, MB", 1, 1),
    ("idle", "idle: processor time in a second, ms", 1, 2),
    ("woken", "idle: woken in a second", 1, 1),
    ("helpers", "helper processes", 1, 0),
)


def show(results: list[dict[str, dict[str, float]]], names: list[str], count: int) -> None:
    def line(title: str, cells: list[str]) -> None:
        print(title.ljust(40) + "".join(cell.rjust(16) for cell in cells))

    line(f"medians of {len(results)} round{'s'[: len(results) > 1]}", names)
    behind, misses = [], []
    for figure, title, factor, digits in ROWS:
        title = title.format(count=count)
        cells, ratios = [], []
        for name in names:
            known = [one[name][figure] for one in results if figure in one[name]]
            cells.append(f"{statistics.median(known) * factor:,.{digits}f}" if known else "-")
            pairs = [one[name][figure] / one[names[0]][figure] for one in results
                     if figure in one[name] and one[names[0]].get(figure)]
            ratios.append(f"{statistics.median(pairs):.2f}" if pairs else "-")
        line(title, cells)
        if figure == "helpers":
            continue
        line(f"  ratio to {names[0]}", ratios)
        ahead = [f"{name} {ratio}" for name, ratio in zip(names, ratios) if ratio != "-" and float(ratio) < 1]
        if ahead:
            behind.append(f"  {title}: {', '.join(ahead)}")
        if figure in HELD and any(one.split()[0] == HELD_TO for one in ahead):
            misses.append(title)
    print("\n".join([f"behind others is {names[0]} in", *behind] if behind else [f"{names[0]} is ahead everywhere"]))
    if misses and names[0] == "dynamo-launch":
        sys.exit(f"behind {HELD_TO}: {'; '.join(misses)}")


MANAGERS = ["dynamo-launch", "supervisord", "circus", "circus at 50 ms", "honcho", "runit", "s6"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--processes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--managers", default=",".join(MANAGERS), help="which, separated by commas; the first is compared to")
    parser.add_argument("--launcher", type=pathlib.Path, default=LAUNCHER)
    options = parser.parse_args()
    names = options.managers.split(",")
    if unknown := set(names) - set(MANAGERS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(MANAGERS)}")
    if not 5 <= options.processes <= 900 or options.rounds < 1:
        parser.error("--processes is from 5 to 900, and --rounds at least 1")
    needed = {"dynamo-launch": options.launcher.resolve(), "runit": "runsvdir", "s6": "s6-svscan"}
    for program in ["cc"] + [needed[name] for name in names if name in needed]:
        if not shutil.which(program):
            sys.exit(f"{program} is missing; the README says how it is built or installed (or leave it out: --managers)")

    binaries = environment()
    managers = {
        "dynamo-launch": Manager(manifest(options.launcher.resolve())),
        "supervisord": Manager(supervisord(binaries)),
        "circus": Manager(circus(binaries, 1.0)),
        "circus at 50 ms": Manager(circus(binaries, 0.05)),
        "honcho": Manager(honcho(binaries), restarts=False),
        "runit": Manager(scanned("runsvdir"), ending=signal.SIGHUP),
        "s6": Manager(scanned("s6-svscan")),
    }
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM"))
    # What its parent leaves behind comes here, where it is found.
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dl-managers-", dir="/tmp"))
    results = []
    try:
        (folder / "child.c").write_text(CHILD)
        subprocess.run(["cc", "-O2", "-static", "-o", folder / "child", folder / "child.c"], check=True)
        for number in range(options.rounds):
            turn = number % len(names)
            order = names[turn:] + names[:turn]
            if number % 2:
                order.reverse()
            measured = {}
            for name in order:
                measured[name] = measure(managers[name], options.processes, folder / "child", folder / "run")
            results.append(measured)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(results, names, options.processes)


if __name__ == "__main__":
    main()
