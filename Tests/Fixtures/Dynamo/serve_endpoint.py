"""Serves one endpoint with Dynamo's own runtime, for callers under test.

usage: serve_endpoint.py NAMESPACE.COMPONENT.ENDPOINT

The request says what to do:
  {"n": 3}                      three items
  {"n": 3, "mode": "raise_mid"} an exception after the last item
  {"mode": "call_raise"}        an exception before the stream begins
  {"n": 1000, "delay_ms": 5}    a pause before each item
Every item is {"i": <number>, "req": <the request, in the first item only>}. Cancellations are printed.
"""

import asyncio
import sys

from dynamo.runtime import DistributedRuntime, dynamo_worker


async def items(request, context):
    mode = request.get("mode") if isinstance(request, dict) else None
    count = request.get("n", 1) if isinstance(request, dict) else 1
    delay = request.get("delay_ms", 0) / 1000 if isinstance(request, dict) else 0
    for number in range(count):
        if delay:
            await asyncio.sleep(delay)
        if context.is_stopped():
            print("killed" if context.is_killed() else "stopped", flush=True)
            return
        yield {"i": number, "req": request if number == 0 else None}
    if mode == "raise_mid":
        raise RuntimeError("boom in mid stream")


def handler(request, context):
    if isinstance(request, dict) and request.get("mode") == "call_raise":
        raise ValueError("boom at call")
    return items(request, context)


@dynamo_worker()
async def serve(runtime: DistributedRuntime):
    await runtime.endpoint(sys.argv[1]).serve_endpoint(handler)


asyncio.run(serve())
