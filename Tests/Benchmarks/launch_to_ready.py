"""Times launch to first token of one real Dynamo deployment, started by a plain script and by dynamo-launch, in turn.

usage: launch_to_ready.py [ROUNDS]

Both start `python -m dynamo.frontend` and `python -m dynamo.mocker` of the interpreter DYNAMO_121_PYTHON with the model
folder DYNAMO_TEST_MODEL (Tests/run.sh sets both; see the README). One prober watches both: it asks the public port for one
token until it gets it. Then it prints the seconds of each round, the medians and the ratio of each pair. Pairs run one
after the other, so that a noisy machine disturbs both alike.
"""

import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from launcher_memory import LAUNCHER, ROOT, free_port, one_token

SCRIPT = """
"$PYTHON" -m dynamo.frontend --http-port "$DYN_HTTP_PORT" &
DYN_SYSTEM_PORT=$SYSTEM_PORT "$PYTHON" -m dynamo.mocker --model-path "$MODEL_PATH" &
wait
"""


def timed(command: list[str], extra: dict[str, str], folder: pathlib.Path) -> float:
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DYN_", "NATS_"))}
    environment |= {
        "DYN_HTTP_PORT": str(port),
        "SYSTEM_PORT": str(free_port() % 20000 + 10000),
        "HF_HUB_OFFLINE": "1",
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_RUNTIME_DIR": str(folder),
    } | extra
    with open(folder / "log", "ab") as log:
        begin = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            while not one_token(port):
                if process.poll() is not None or time.monotonic() - begin > 120:
                    sys.exit(f"{command[0]} did not become ready; see its output:\n{(folder / 'log').read_text()}")
                time.sleep(0.01)
            return time.monotonic() - begin
        finally:
            if command[0] == "bash":
                os.killpg(process.pid, signal.SIGTERM)
            else:
                process.send_signal(signal.SIGTERM)
            process.wait(30)


def main(rounds: int) -> None:
    python, model = os.environ["DYNAMO_121_PYTHON"], os.environ["DYNAMO_TEST_MODEL"]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dl-bench-", dir="/tmp"))
    try:
        by_script, by_launcher = [], []
        for number in range(rounds + 1):
            plain = {
                "PYTHON": python,
                "MODEL_PATH": model,
                "DYN_DISCOVERY_BACKEND": "file",
                "DYN_FILE_KV": str(folder / f"kv{number}"),
                "DYN_REQUEST_PLANE": "tcp",
                "DYN_EVENT_PLANE": "zmq",
                "DYN_NAMESPACE": "bench",
            }
            with_launcher = {"MODEL_PATH": model, "PATH": f"{pathlib.Path(python).parent}:{os.environ['PATH']}"}
            command = [str(LAUNCHER), "up", "--tcp", str(ROOT / "launch/mocker.yaml")]
            if number % 2:  # neither is always the first of its pair
                launcher = timed(command, with_launcher, folder)
            script = timed(["bash", "-c", SCRIPT], plain, folder)
            if not number % 2:
                launcher = timed(command, with_launcher, folder)
            note = "(warm-up, not counted)" if number == 0 else ""
            print(f"script {script:6.3f} s   dynamo-launch {launcher:6.3f} s   ratio {launcher / script:.3f} {note}")
            if number:
                by_script.append(script)
                by_launcher.append(launcher)
        ratios = [b / a for a, b in zip(by_script, by_launcher)]
        print(
            f"median: script {statistics.median(by_script):.3f} s, dynamo-launch {statistics.median(by_launcher):.3f} s, "
            f"ratio of pairs {statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f})"
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
