"""An engine that has computed a prompt: it publishes the prompt's blocks in vLLM's format, and answers nothing.

token_engine.py PUB_PORT TOKENIZER_JSON BLOCK_SIZE RANK PROMPT

It publishes as soon as somebody listens. Block n is called 1000 + n.
"""

import sys
import time

import msgpack
import zmq
from tokenizers import Tokenizer

port, tokenizer, block_size, rank, prompt = sys.argv[1:6]
size = int(block_size)
tokens = Tokenizer.from_file(tokenizer).encode(prompt).ids
tokens = tokens[: len(tokens) // size * size]
context = zmq.Context()
publisher = context.socket(zmq.XPUB)
publisher.bind(f"tcp://127.0.0.1:{port}")
publisher.recv()
hashes = [1000 + n for n in range(len(tokens) // size)]
batch = [time.time(), [["BlockStored", hashes, None, tokens, size, None]], int(rank)]
publisher.send_multipart([b"kv-events", (0).to_bytes(8, "big"), msgpack.packb(batch)])
print(f"published {len(hashes)} blocks", flush=True)
while True:
    time.sleep(1)
