"""The worker of text_worker.py, with a fault.

usage: faulty_worker.py FAULT SWITCH [arguments of text_worker.py]

  errors    every tenth request fails, in turns before and after its first word
  all       every request fails
  late      the first word comes 1.5 s later
  nonsense  answers something else than it was sent
  silent    never tells anybody that it is there, and does not end when it is asked to

The fault is there while the file SWITCH is.
"""

import asyncio
import os
import signal
import sys
import time

import text_worker
import uvloop

FAULT, SWITCH = sys.argv[1], sys.argv[2]
del sys.argv[1:3]
healthy = text_worker.Worker.generate
requests = 0


async def generate(self, request, context):
    global requests
    requests += 1
    if os.path.exists(SWITCH):
        if FAULT == "all":
            raise RuntimeError("the worker fails every request")
        if FAULT == "errors" and requests % 20 == 0:
            raise RuntimeError("the worker fails every tenth request")
        if FAULT == "errors" and requests % 20 == 10:
            request = {**request, "messages": [{"role": "user", "content": "fail-after-one of many words"}]}
        if FAULT == "late":
            await asyncio.sleep(1.5)
        if FAULT == "nonsense":
            request = {**request, "messages": [{"role": "user", "content": "lorem ipsum " * 40}]}
    async for part in healthy(self, request, context):
        yield part


text_worker.Worker.generate = generate

if FAULT == "silent" and os.path.exists(SWITCH):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)
uvloop.run(text_worker.main())
