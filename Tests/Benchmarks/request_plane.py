"""Compares our frontend and worker with those of real Dynamo 1.2.1 under load: the same prompts, token counts and clients.

usage: request_plane.py [--rounds N] [--seconds S] [--concurrency N] [--plane tcp|http|nats]

Starts three deployments side by side, of the release build and of the interpreter DYNAMO_121_PYTHON with the model folder
DYNAMO_TEST_MODEL (Tests/run.sh sets both; see the README):

  dynamo   Dynamo's frontend and mocker
  mixed    Dynamo's frontend and our worker
  ours     our frontend and worker

`dynamo-launch bench` measures them in alternating rounds, first with short answers in one piece, then with streamed ones. The
mocker is told not to simulate any time. Then it prints one table and ends with 1 when a ratio misses its limit. Ratios are
medians over the rounds where the table says so, else of the totals. The load generator has the same two cores.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from launcher_memory import LAUNCHER, free_port, one_token

SHAPES = (("16 tokens, not streamed", 16, False), ("64 tokens, streamed", 64, True))
WORKER_LIMIT = 0.5
RATE_LIMIT = 2.0

DYNAMO_FRONTEND = "module: dynamo.frontend"
OUR_FRONTEND = "builtin: frontend"
MOCKER = "module: dynamo.mocker\n    args: [--model-path, {model}, --speedup-ratio, '0']"
# A real frontend of 1.2 serves one kind of requests for each model.
OUR_WORKER = "builtin: worker\n    args: [--model-name, echo, --rate, '0', --serve, chat]"
DEPLOYMENTS = {
    "dynamo": (DYNAMO_FRONTEND, MOCKER),
    "mixed": (DYNAMO_FRONTEND, OUR_WORKER),
    "ours": (OUR_FRONTEND, OUR_WORKER),
}
MANIFEST = """name: bench-{name}
planes: {plane}
discovery: file
dynamo: {{python: {python}}}
infrastructure: {{nats: managed}}
env: {{HF_HUB_OFFLINE: 1}}
processes:
  frontend:
    {frontend}
  worker:
    {worker}
"""


@contextlib.contextmanager
def running(folder: pathlib.Path, plane: str):
    """Starts the deployments; the environment in which `dynamo-launch` finds them."""
    base = {k: v for k, v in os.environ.items() if not k.startswith(("DYN_", "NATS_"))}
    base |= {"XDG_STATE_HOME": str(folder / "state"), "XDG_RUNTIME_DIR": str(folder)}
    python, model = json.dumps(os.environ["DYNAMO_121_PYTHON"]), json.dumps(os.environ["DYNAMO_TEST_MODEL"])
    started = []
    try:
        for name, (frontend, worker) in DEPLOYMENTS.items():
            manifest = folder / f"{name}.yaml"
            worker = worker.format(model=model)
            manifest.write_text(
                MANIFEST.format(name=name, plane=plane, python=python, frontend=frontend, worker=worker)
            )
            port = free_port()
            with open(folder / f"{name}.log", "wb") as log:
                process = subprocess.Popen(
                    [LAUNCHER, "up", manifest], env=base | {"DYN_HTTP_PORT": str(port)}, stdout=log, stderr=log
                )
            started.append((name, process, port))
        deadline = time.monotonic() + 120
        for name, process, port in started:
            while not one_token(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"'{name}' did not become ready; its output:\n{(folder / f'{name}.log').read_text()}")
                time.sleep(0.1)
        yield base
    finally:
        for _, process, _ in started:
            process.send_signal(signal.SIGTERM)
        for _, process, _ in started:
            process.wait(60)


def measure(environment: dict[str, str], options: argparse.Namespace, tokens: int, streamed: bool) -> dict:
    first, *others = [f"bench-{name}" for name in DEPLOYMENTS]
    command = [LAUNCHER, "bench", first, *(word for name in others for word in ("--against", name)), "--json"]
    command += ["--stream" if streamed else "--no-stream", "--tokens", str(tokens)]
    command += ["--concurrency", str(options.concurrency), "--rounds", str(options.rounds)]
    command += ["--duration", str(options.seconds)]
    answer = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    return dict(zip(DEPLOYMENTS, json.loads(answer.stdout)["targets"]))


def main(options: argparse.Namespace) -> None:
    rows, misses = [], []

    def compare(text: str, ours: float, theirs: float, ratio: float, limit: float, is_most: bool, digits: int) -> None:
        kept = ratio <= limit if is_most else ratio >= limit
        rows.append(
            (text, f"{theirs:.{digits}f}", f"{ours:.{digits}f}", f"{ratio:.2f}", f"{'<=' if is_most else '>='} {limit}")
        )
        if not kept:
            misses.append(f"{text}: {ratio:.2f}")

    folder = pathlib.Path(tempfile.mkdtemp(prefix="dl-bench-", dir="/tmp"))
    try:
        with running(folder, options.plane) as environment:
            for text, tokens, streamed in SHAPES:
                targets = measure(environment, options, tokens, streamed)
                for name, target in targets.items():
                    if target["failures"]:
                        misses.append(f"{text}: '{name}' had failures: {target['failures']}")
                rate, token_rate = "requests (1/s)", "tokens (1/s)"
                cost = {}
                for name, target in targets.items():
                    per_request = target["figures"][token_rate] / target["figures"][rate]
                    if round(per_request) != tokens:
                        misses.append(f"{text}: '{name}' gave {per_request:.1f} tokens a request")
                    processor = target["processorMillisecondsPerRequest"]
                    cost[name] = {process: value * 1000 / tokens for process, value in processor.items()}
                compare(
                    f"{text}: processor time of the worker per token (us), Dynamo's frontend",
                    cost["mixed"]["worker"],
                    cost["dynamo"]["worker"],
                    cost["mixed"]["worker"] / cost["dynamo"]["worker"],
                    WORKER_LIMIT,
                    True,
                    1,
                )
                compare(
                    f"{text}: requests a second, both processes ours",
                    targets["ours"]["figures"][rate],
                    targets["dynamo"]["figures"][rate],
                    targets["ours"]["ratios"][rate],
                    RATE_LIMIT,
                    False,
                    0,
                )
                for process in ("frontend", "worker"):
                    rows.append(
                        (
                            f"{text}: processor time of the {process} per token (us), both ours",
                            f"{cost['dynamo'][process]:.1f}",
                            f"{cost['ours'][process]:.1f}",
                            f"{cost['ours'][process] / cost['dynamo'][process]:.2f}",
                            "",
                        )
                    )
    finally:
        shutil.rmtree(folder, ignore_errors=True)

    head = (f"{options.plane}, {options.concurrency} clients, {options.rounds} rounds", "Dynamo", "ours", "ratio", "limit")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        print("  ".join(cells).rstrip())
    if misses:
        sys.exit("missed:\n" + "\n".join(misses))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--plane", choices=("tcp", "http", "nats"), default="tcp")
    main(parser.parse_args())
