#!/usr/bin/env python3
"""Runs a command that must not hang: when it prints nothing for too long, or takes too long in all, shows where it hangs and ends it.

usage: with_limits.py SILENCE TOTAL COMMAND [ARGUMENT...]     limits in seconds

The command's output passes through line by line (a terminal of its own keeps the command from holding it back). Lines that say
what failed, and what follows them, are printed once more at the end, where nobody has to search for them. At a limit the
processes below the command are printed, with the threads of the test process where gdb is installed; then all of them get
SIGKILL, and the exit code is 124.
"""

import os
import pty
import select
import signal
import subprocess
import sys
import time


def descendants(root):
    """The processes below one, as (pid, depth, command line), parents first."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            with open(f"/proc/{name}/cmdline", "rb") as file:
                line = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        children.setdefault(parent, []).append((int(name), line))
    found = []

    def visit(pid, depth):
        for child, line in sorted(children.get(pid, [])):
            found.append((child, depth, line))
            visit(child, depth + 1)

    visit(root, 0)
    return found


def report(root, reason):
    print(f"\n== {reason}; what ran:", flush=True)
    for pid, depth, line in descendants(root):
        print(f"{'  ' * depth}{pid} {line[:200]}", flush=True)
        if ".xctest" in line.split(" ")[0]:
            try:
                threads = subprocess.run(
                    ["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 30"],
                    capture_output=True, text=True, errors="replace", timeout=120,
                )
                print(threads.stdout[-60_000:], flush=True)
            except (OSError, subprocess.TimeoutExpired) as error:
                print(f"its threads cannot be shown: {error}", flush=True)


class Failures:
    """The lines of an output that begin with the mark of a failed test, each with the lines of detail below it."""

    MARKS = ("\N{HEAVY BALLOT X}", "error:", "fatal:", "Fatal error:", "*** ")
    # A test's name may have an error in it.
    BEGINS = ("\N{WHITE DIAMOND}", "\N{HEAVY CHECK MARK}")
    DETAILS = ("\N{DOWNWARDS ARROW WITH TIP RIGHTWARDS}", " ", "\t")

    def __init__(self):
        self.lines = []
        self.rest = b""
        self.in_failure = False

    def read(self, output):
        *lines, self.rest = (self.rest + output).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").rstrip("\r")
            if text.startswith(self.BEGINS):
                self.in_failure = False
            elif text.startswith(self.MARKS) or ": Fatal error:" in text or ": error:" in text:
                self.in_failure = True
            elif not text.startswith(self.DETAILS):
                self.in_failure = False
            if self.in_failure and len(self.lines) < 400:
                self.lines.append(text[:2000])

    def show(self):
        if self.lines:
            print("\n== what failed:", *self.lines, sep="\n", flush=True)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    silence, total, command = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    os.environ |= {"TERM": "dumb", "NO_COLOR": "1"}
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)
    started = heard = time.monotonic()
    reason = None
    failures = Failures()
    while True:
        now = time.monotonic()
        if now - heard > silence:
            reason = f"no output for {silence:.0f} s"
        elif now - started > total:
            reason = f"not finished after {total:.0f} s"
        if reason:
            break
        if select.select([terminal], [], [], 1)[0]:
            try:
                output = os.read(terminal, 1 << 16)
            except OSError:  # closed by the last process that had it
                break
            if not output:
                break
            heard = time.monotonic()
            failures.read(output)
            sys.stdout.buffer.write(output.replace(b"\r\n", b"\n"))
            sys.stdout.buffer.flush()
        elif os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            # Somebody who was left behind still has the terminal.
            break
    if reason:
        report(os.getpid(), reason)
        for pid, _, _ in reversed(descendants(os.getpid())):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        failures.show()
        sys.exit(124)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0:
        failures.show()
    sys.exit(status if status >= 0 else 128 - status)


main()
