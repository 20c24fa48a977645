"""Measures what the request plane costs beside bare connections, and the memory of idle response streams.

usage: request_frames.py [ROUNDS]

Two processes of `plane-benchmark` (release build) on loopback, one the worker, one its caller. In each round items of 64 bytes
move on a response stream and messages of the same size on the wire on a bare NIO connection, in turn:

  flow       one way, as fast as the reader takes them; bare ones are flushed one by one as a program does that writes
             a message when it has one, and 32 at once
  echo of N  there and back, N at a time; on the request plane over two response streams, one each way; once more with one
             event loop in each process that runs the handlers too
  request    a whole request that is refused, so that only its acknowledgement comes back; bare, an echo of 500 bytes

The figures are nanoseconds for one frame one way: what passes, and the processor time of both processes. Then so many idle
streams are opened, and the resident memory of both processes is read. Ends with 1 when a figure misses its limit.
"""

import json
import pathlib
import statistics
import subprocess
import sys

from launcher_memory import ROOT, figures

PROGRAM = ROOT / ".build/release/plane-benchmark"
FLOWS = ("elapsed", "processor")
LIMIT = 1.5
# A frame alone: more than a bare echo on one connection, where answers carry the acknowledgements of TCP.
LONE_LIMIT = 1.7
STREAMS = (1_000, 10_000)
# Kilobytes for each idle stream in each process.
MEMORY_LIMIT = 16.0


def worker() -> tuple[subprocess.Popen, str, str, str]:
    process = subprocess.Popen([PROGRAM, "worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    address, loop_address, port = process.stdout.readline().split()
    return process, address, loop_address, port


def end(process: subprocess.Popen) -> None:
    process.stdin.close()
    process.wait(60)


def frames(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Nanoseconds of each round, by way and kind; the first round is a warm-up."""
    process, address, loop_address, port = worker()
    try:
        command = [PROGRAM, "frames", address, loop_address, port, str(process.pid), str(rounds + 1)]
        lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    finally:
        end(process)
    collected = [json.loads(line) for line in lines][1:]
    return {
        name: {kind: [one[name][kind] for one in collected] for kind in FLOWS} for name in collected[0]
    }


def memory(count: int) -> tuple[float, float]:
    """Kilobytes of resident memory for each idle stream, in the worker and in its caller."""
    process, address, _, _ = worker()
    try:
        command = [PROGRAM, "streams", address]
        # A first stream, so that what every process has once does not count.
        for number in (1, count):
            caller = subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            if caller.stdout.readline() != "open\n":
                sys.exit(f"{count} streams could not be opened")
            resident = figures(process.pid)["VmRSS"], figures(caller.pid)["VmRSS"]
            end(caller)
            if number == 1:
                before = resident
    finally:
        end(process)
    return tuple((now - first) * 1000 / count for now, first in zip(resident, before))


def main(rounds: int) -> None:
    misses = []
    measured = frames(rounds)
    print(f"nanoseconds for a frame one way, median of {rounds} rounds".ljust(56) + "elapsed".rjust(10) + "CPU".rjust(10))
    for name, kinds in measured.items():
        print(name.ljust(56) + "".join(f"{statistics.median(kinds[kind]):10.0f}" for kind in FLOWS))
    pairs = [
        ("flow, plane", "flow, bare, each flushed", LIMIT),
        ("flow, plane", "flow, bare, 32 at once", None),
        ("echo of 1, plane", "echo of 1, bare", None),
        ("echo of 1, plane on its event loop", "echo of 1, bare", LONE_LIMIT),
        ("echo of 64, plane", "echo of 64, bare", LIMIT),
        ("echo of 64, plane on its event loop", "echo of 64, bare", LIMIT),
    ]
    for ours, bare, limit in pairs:
        ratios = {
            kind: statistics.median(a / b for a, b in zip(measured[ours][kind], measured[bare][kind])) for kind in FLOWS
        }
        text = f"{ours} / {bare}".ljust(56) + "".join(f"{ratios[kind]:10.2f}" for kind in FLOWS)
        print(text + (f"   limit {limit}" if limit else ""))
        if limit and max(ratios.values()) > limit:
            misses.append(f"{ours} / {bare}: {max(ratios.values()):.2f}, limit {limit}")
    for count in STREAMS:
        in_worker, in_caller = memory(count)
        total = ", ".join(f"{each * count / 1000:.0f} MB" for each in (in_worker, in_caller))
        print(f"{count} idle streams: {in_worker:.1f} kB each in the worker, {in_caller:.1f} kB in its caller ({total})")
        for each in (in_worker, in_caller):
            if each > MEMORY_LIMIT:
                misses.append(f"{each:.1f} kB for an idle stream, limit {MEMORY_LIMIT}")
    if misses:
        sys.exit("missed:\n" + "\n".join(misses))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
