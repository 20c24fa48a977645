"""An engine's KV event publisher as vLLM has it: a PUB socket, and a ROUTER socket that answers replay requests.

engine.py PUB_PORT REPLAY_PORT GENERATION SCRIPT [FORGET]

SCRIPT has one letter per message: p publishes it, s keeps it for replay only, l loses it, w waits for a subscriber first.
Message n stores block 10 * GENERATION + n + 1. Only messages from number FORGET on can be replayed.
"""

import struct
import sys
import time

import zmq

publish_port, replay_port, generation, script = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
forget = int(sys.argv[5]) if len(sys.argv) > 5 else 0
context = zmq.Context()
publisher = context.socket(zmq.XPUB)
publisher.bind(f"tcp://127.0.0.1:{publish_port}")
replays = context.socket(zmq.ROUTER)
replays.bind(f"tcp://127.0.0.1:{replay_port}")
kept = []


def batch(number):
    time_stamp = b"\xcb" + struct.pack(">d", 1000.0 * generation + number)
    block = bytes([10 * generation + number + 1])
    stored = b"\x96\xabBlockStored\x91" + block + b"\xc0\x94\x01\x02\x03\x04\x04\xc0"
    return b"\x93" + time_stamp + b"\x91" + stored + b"\x00"


def serve(milliseconds):
    while replays.poll(milliseconds):
        client, _, start = replays.recv_multipart()
        for number, payload in kept:
            if number >= max(forget, int.from_bytes(start, "big")):
                replays.send_multipart([client, b"", number.to_bytes(8, "big"), payload])
        replays.send_multipart([client, b"", b"\xff" * 8, b""])
        milliseconds = 0


number = 0
for letter in script:
    if letter == "w":
        publisher.recv()
        continue
    payload = batch(number)
    if letter != "l":
        kept.append((number, payload))
    if letter == "p":
        publisher.send_multipart([b"", number.to_bytes(8, "big"), payload])
    number += 1
    serve(20)
print("done", flush=True)
while True:
    serve(100)
