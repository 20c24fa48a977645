"""Stands between an engine's KV event publisher and whoever listens to it, and loses messages on demand.

lossy_proxy.py ENGINE_PORT OWN_PORT LOSE_FILE

While LOSE_FILE exists, nothing that the engine publishes is passed on.
"""

import os
import sys

import zmq

engine_port, own_port, lose_file = sys.argv[1:4]
context = zmq.Context()
engine = context.socket(zmq.SUB)
engine.setsockopt(zmq.SUBSCRIBE, b"")
engine.setsockopt(zmq.RECONNECT_IVL, 50)
engine.setsockopt(zmq.RECONNECT_IVL_MAX, 50)
engine.connect(f"tcp://127.0.0.1:{engine_port}")
listeners = context.socket(zmq.PUB)
listeners.bind(f"tcp://127.0.0.1:{own_port}")
while True:
    frames = engine.recv_multipart()
    if not os.path.exists(lose_file):
        listeners.send_multipart(frames)
