"""Measures the memory of the embedded deployment of the release build, over several starts.

usage: launcher_memory.py [STARTS]

For each start it waits until the deployment answers with a token, lets it settle, and prints for each process what is
resident (VmRSS), how much of that is its own data (RssAnon) and how much pages of files (RssFile), and its share when pages
that several processes map are divided among them (Pss). Megabytes are 10^6 bytes. Ends with 1 if the median of the
launcher is above the limit.

The pages of files depend on how the program got into the page cache: just linked, copied, or read at the start. The kernel
maps up to 64 KiB around each page that is touched, as far as they are cached; some 3 MB lie between the extremes.
"""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAUNCHER = ROOT / ".build/release/dynamo-launch"
LIMIT = 40.0
FIGURES = ("VmRSS", "RssAnon", "RssFile", "Pss")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def one_token(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/v1/models")
        models = json.load(connection.getresponse())["data"]
        if not models:
            return False
        body = {"model": models[0]["id"], "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def descendants(pid: int) -> list[int]:
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def figures(pid: int) -> dict[str, float]:
    """Megabytes by figure."""
    folder = pathlib.Path(f"/proc/{pid}")
    lines = (folder / "status").read_text().splitlines() + (folder / "smaps_rollup").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name: int(text.split()[0]) * 1024 / 1e6 for name, text in pairs if name in FIGURES}


def measure(settle: float = 2) -> dict[str, dict[str, float]]:
    """Starts the embedded deployment once; the figures by the name of the process."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dl-memory-", dir="/tmp"))
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DYN_", "NATS_"))}
    environment |= {
        "DYN_HTTP_PORT": str(port),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_RUNTIME_DIR": str(folder),
    }
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([LAUNCHER, "up"], env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + 60
        while not one_token(port):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{LAUNCHER} did not become ready; its output:\n{(folder / 'log').read_text()}")
            time.sleep(0.05)
        time.sleep(settle)
        pids = [process.pid, *descendants(process.pid)]
        return {pathlib.Path(f"/proc/{pid}/comm").read_text().strip(): figures(pid) for pid in pids}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def main(starts: int) -> None:
    launcher = []
    print("MB".ljust(18) + "".join(name.rjust(9) for name in FIGURES))
    for _ in range(starts):
        for name, values in measure().items():
            print(name.ljust(18) + "".join(f"{values[figure]:9.1f}" for figure in FIGURES))
            if name == "dynamo-launch":
                launcher.append(values["VmRSS"])
    median = statistics.median(launcher)
    print(f"launcher, median of {starts}: {median:.1f} MB resident, limit {LIMIT:.0f} MB")
    if median > LIMIT:
        sys.exit("the launcher is above its limit")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
