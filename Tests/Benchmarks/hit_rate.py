"""Compares KV routing with round-robin, ours with real Dynamo's, on one seeded workload with shared beginnings.

usage: hit_rate.py [--rounds N] [--plane tcp|http|nats] [--seed S]

Each deployment has four mock engines of ours (`dynamo-worker --engine mock`, release build), whose caches together hold the
workload and each alone do not, behind Dynamo 1.2.1's frontend or ours, with round-robin or KV routing on NATS core. The trace is the
same for all: sixteen clients, each with its own list of turns of conversations; a conversation begins with one of 24 system
prompts, some of which are asked for far more often than others, and each turn contains all that was said before.

The hit rate is what the engines count: blocks of prompts that were found in the cache, of all blocks of prompts. Deployments are
measured in alternating order, each time newly started. DYNAMO_121_PYTHON names the interpreter with Dynamo (Tests/run.sh sets
it). Ends with 1 when ours is behind Dynamo's by more than the limit, or KV routing is not ahead of round-robin.
"""

import argparse
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from launcher_memory import LAUNCHER, free_port, one_token

WORKERS = 4
CLIENTS = 16
# Of Dynamo's hit rate.
LIMIT = 0.97
DEPLOYMENTS = {
    "Dynamo, round-robin": ("module: dynamo.frontend", "round-robin"),
    "ours, round-robin": ("builtin: frontend", "round-robin"),
    "Dynamo, kv": ("module: dynamo.frontend", "kv"),
    "ours, kv": ("builtin: frontend", "kv"),
}
MANIFEST = """name: hit-rate
planes: {{request: {plane}, events: {events}}}
discovery: file
dynamo: {{python: {python}}}
infrastructure: {{nats: managed}}
env: {{HF_HUB_OFFLINE: 1}}
processes:
  frontend:
    {program}
    args: [--router-mode, {mode}]
  worker:
    builtin: worker
    replicas: {workers}
    args: [--engine, mock, --num-blocks, 2048, --context-length, 8192, --answer-tokens, 8]
    ports: {{system: "{{{{{port} + index}}}}"}}
"""


def trace(seed: int) -> list[list[list[dict]]]:
    """For each client the messages of its requests, in order."""
    chance = random.Random(seed)

    def text(length: int) -> str:
        words = []
        while length > 0:
            words.append("".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))))
            length -= len(words[-1]) + 1
        return " ".join(words)

    systems = [text(1500) for _ in range(24)]
    popularity = [1 / (rank + 1) for rank in range(len(systems))]
    clients = []
    for _ in range(CLIENTS):
        conversations = []
        for _ in range(6):
            messages = [{"role": "system", "content": chance.choices(systems, popularity)[0]}]
            turns = []
            for _ in range(chance.randint(2, 8)):
                messages = messages + [{"role": "user", "content": text(160)}]
                turns.append(messages)
                messages = messages + [{"role": "assistant", "content": text(60)}]
            conversations.append(turns)
        requests = []
        while conversations:
            # Three conversations of a client are under way at a time.
            turns = chance.choice(conversations[:3])
            requests.append(turns.pop(0))
            conversations = [turns for turns in conversations if turns]
        clients.append(requests)
    return clients


def play(port: int, clients: list[list[list[dict]]]) -> list[float]:
    """Seconds to the first token of each request."""
    first, failures = [], []

    def client(requests: list[list[dict]]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for messages in requests:
            body = {"model": "mock", "messages": messages, "max_tokens": 8, "stream": True}
            began = time.monotonic()
            connection.request(
                "POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"}
            )
            answer = connection.getresponse()
            if answer.status != 200:
                failures.append(f"{answer.status} {answer.read()[:300]!r}")
                return
            while b'"content":"' not in (line := answer.readline()).replace(b'"content":""', b""):
                if not line:
                    break
            first.append(time.monotonic() - began)
            answer.read()
        connection.close()

    threads = [threading.Thread(target=client, args=(requests,)) for requests in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures or len(first) != sum(map(len, clients)):
        raise SystemExit(f"requests failed: {failures or len(first)}")
    return first


def blocks(port: int) -> tuple[float, float]:
    """Blocks of prompts that all engines have seen, and found."""
    sums = {"prompt": 0.0, "hit": 0.0}
    for worker in range(WORKERS):
        connection = http.client.HTTPConnection("127.0.0.1", port + worker, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        for kind in sums:
            found = re.search(rf"^dynamo_worker_kv_{kind}_blocks_total{{[^}}]*}} (\S+)$", text, re.MULTILINE)
            sums[kind] += float(found.group(1)) if found else 0.0
    return sums["prompt"], sums["hit"]


def measure(name: str, options: argparse.Namespace, folder: pathlib.Path) -> dict[str, float]:
    program, mode = DEPLOYMENTS[name]
    public, system = free_port(), 21000 + random.randrange(0, 900) * 10
    folder.mkdir()
    manifest = folder / "manifest.yaml"
    manifest.write_text(
        MANIFEST.format(
            plane=options.plane, python=json.dumps(os.environ["DYNAMO_121_PYTHON"]), program=program, mode=mode,
            events="nats-core" if mode == "kv" else "none", workers=WORKERS, port=system,
        )
    )
    base = {k: v for k, v in os.environ.items() if not k.startswith(("DYN_", "NATS_"))}
    base |= {"XDG_STATE_HOME": str(folder / "state"), "XDG_RUNTIME_DIR": str(folder), "DYN_HTTP_PORT": str(public)}
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([LAUNCHER, "up", manifest], env=base, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while not one_token(public):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"'{name}' did not become ready; its output:\n{log.read_text()}")
            time.sleep(0.1)
        before = blocks(system)
        began = time.monotonic()
        first = play(public, trace(options.seed))
        elapsed = time.monotonic() - began
        after = blocks(system)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    return {
        "hit rate": (after[1] - before[1]) / (after[0] - before[0]),
        "first token p50 (ms)": statistics.median(first) * 1000,
        "first token p99 (ms)": statistics.quantiles(first, n=100)[98] * 1000,
        "requests (1/s)": len(first) / elapsed,
    }


def main(options: argparse.Namespace) -> None:
    results = {name: [] for name in DEPLOYMENTS}
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dl-hits-", dir="/tmp"))
    try:
        for number in range(options.rounds):
            for name in list(DEPLOYMENTS)[:: 1 if number % 2 == 0 else -1]:
                results[name].append(measure(name, options, folder / f"{number}-{list(DEPLOYMENTS).index(name)}"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures = list(results["ours, kv"][0])
    medians = {
        name: {figure: statistics.median(one[figure] for one in rounds) for figure in figures}
        for name, rounds in results.items()
    }
    print("| | " + " | ".join(figures) + " |\n" + "|---" * (len(figures) + 1) + "|")
    for name, row in medians.items():
        digits = [3, 1, 1, 0]
        print(f"| {name} | " + " | ".join(f"{row[f]:.{d}f}" for f, d in zip(figures, digits)) + " |")
    rates = {name: row["hit rate"] for name, row in medians.items()}
    if rates["ours, kv"] < rates["Dynamo, kv"] * LIMIT or rates["ours, kv"] <= rates["ours, round-robin"]:
        sys.exit(f"missed: {rates}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plane", choices=("tcp", "http", "nats"), default="tcp")
    parser.add_argument("--seed", type=int, default=1)
    main(parser.parse_args())
