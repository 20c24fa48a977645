"""Compares our KV event publisher with that of real Dynamo 1.2.1: the same blocks, on NATS core with a local index.

usage: event_publisher.py [ROUNDS] [EVENTS]

Each round publishes EVENTS events of one block, and of eight, from either publisher in turn, to a nats-server of its own; a
subscriber (`event-benchmark count`, release build) gets them all, and afterwards looks whether each is there. The rate is that from
the first call until the last message has come. DYNAMO_121_PYTHON names the interpreter with Dynamo (Tests/run.sh sets it). Ends with 1 when the median of the
ratios misses its limit, or a block was lost.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / ".build/release/event-benchmark"
BLOCK_SIZE = 16
LIMIT = 2.0


def publish_as_dynamo(count: int, blocks: int) -> None:
    """Runs in Dynamo's interpreter: publishes, prints when it began, and stays until its input ends."""
    from dynamo.llm import KvEventPublisher
    from dynamo.runtime import DistributedRuntime, dynamo_worker

    @dynamo_worker()
    async def publish(runtime: DistributedRuntime):
        publisher = KvEventPublisher(
            runtime.endpoint("bench.backend.generate"), kv_block_size=BLOCK_SIZE, enable_local_indexer=True
        )
        sizes = [BLOCK_SIZE] * blocks
        tokens = list(range(blocks * BLOCK_SIZE))
        began, processor = time.monotonic(), time.process_time()
        for number in range(count):
            tokens[0] = number
            first = number * blocks + 1
            publisher.publish_stored(tokens, sizes, list(range(first, first + blocks)))
        print(json.dumps({"began": began}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(json.dumps({"processor": time.process_time() - processor}), flush=True)
        publisher.shutdown()

    asyncio.run(publish())


@contextlib.contextmanager
def nats_server(folder: pathlib.Path):
    program = shutil.which("nats-server") or str(pathlib.Path(os.environ["DYNAMO_121_PYTHON"]).parent / "nats-server")
    ports = folder / "ports"
    ports.mkdir()
    command = [program, "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(ports), "-l", str(folder / "nats.log")]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 10
        while not (files := list(ports.glob("*.ports"))) or not files[0].read_text().endswith("}"):
            if time.monotonic() > deadline:
                raise SystemExit("nats-server did not start")
            time.sleep(0.02)
        yield json.loads(files[0].read_text())["nats"][0]
    finally:
        process.terminate()
        process.wait(10)


def measure(publisher: str, server: str, count: int, blocks: int, folder: pathlib.Path) -> dict:
    base = {k: v for k, v in os.environ.items() if not k.startswith(("DYN_", "NATS_"))} | {"NATS_SERVER": server}
    numbers = [str(count), str(blocks)]
    subscriber = subprocess.Popen([PROGRAM, "count", *numbers], env=base, stdout=subprocess.PIPE, text=True)
    assert subscriber.stdout.readline() == "ready\n"
    if publisher == "ours":
        output = subprocess.run(
            [PROGRAM, "publish", *numbers], env=base, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        mine = json.loads(output)
        seen = json.loads(subscriber.communicate(timeout=120)[0])
    else:
        dynamo = base | {
            "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": str(folder / "kv"), "DYN_REQUEST_PLANE": "tcp",
            "DYN_EVENT_PLANE": "nats", "DYN_LOG": "error",
        }
        process = subprocess.Popen(
            [os.environ["DYNAMO_121_PYTHON"], __file__, "--as-dynamo", *numbers],
            env=dynamo, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        mine = json.loads(process.stdout.readline())
        seen = json.loads(subscriber.communicate(timeout=120)[0])
        mine |= json.loads(process.communicate("\n", timeout=60)[0].splitlines()[0])
    elapsed = seen["ended"] - mine["began"]
    if seen["gaps"] or seen["blocks"] != count * blocks or mine.get("resyncs"):
        raise SystemExit(f"{publisher}: events were lost or sent twice: {seen} {mine}")
    return {
        "rate": count / elapsed, "messages": seen["messages"], "processor": mine["processor"] / count * 1e6,
    }


def main() -> None:
    if sys.argv[1:2] == ["--as-dynamo"]:
        return publish_as_dynamo(int(sys.argv[2]), int(sys.argv[3]))
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
    failed = False
    print("| | Dynamo | ours | ratio | limit |\n|---|---|---|---|---|")
    for blocks in (1, 8):
        figures = {"dynamo": [], "ours": []}
        for number in range(rounds + 1):
            for publisher in ("dynamo", "ours") if number % 2 else ("ours", "dynamo"):
                with tempfile.TemporaryDirectory() as name, nats_server(pathlib.Path(name)) as server:
                    figures[publisher].append(measure(publisher, server, count, blocks, pathlib.Path(name)))
        # The first round is a warm-up.
        dynamo, ours = (figures[name][1:] for name in ("dynamo", "ours"))
        for figure, unit, limit in (("rate", "events a second", LIMIT), ("processor", "µs of processor time an event", None)):
            ratio = statistics.median(b[figure] / a[figure] for a, b in zip(dynamo, ours))
            medians = [statistics.median(one[figure] for one in side) for side in (dynamo, ours)]
            failed |= limit is not None and ratio < limit
            texts = [f"{value:,.0f}" if figure == "rate" else f"{value:.1f}" for value in medians]
            print(f"| {unit}, {blocks} block{'s'[: blocks - 1]} each | {texts[0]} | {texts[1]} | {ratio:.2f} | {limit or '-'} |", flush=True)
        print(f"messages: Dynamo {dynamo[0]['messages']}, ours {ours[0]['messages']}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
