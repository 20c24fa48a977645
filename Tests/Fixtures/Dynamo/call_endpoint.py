"""Calls an endpoint with Dynamo's own client, for servers under test.

usage: call_endpoint.py NAMESPACE.COMPONENT.ENDPOINT COMMAND...

A command is a JSON object: {"request": ..., "stop_after": 2, "drop_after": 2, "times": 1, "pad": 0}. For each command one line of JSON is printed:
{"items": [...], "error": null or text}. With "times" above one, that many requests run at once and their number of items is summed up.
With "pad", the request gets a text of that length, and only the size of the items is printed.
"""

import asyncio
import json
import sys

from dynamo.runtime import Context, DistributedRuntime, dynamo_worker

# What the client says while its routing list does not hold an instance that it has announced already.
NOT_ROUTED_YET = ("no instances found", "No workers available")


async def call(client, command):
    items = []
    context = Context()
    if "pad" in command:
        command["request"]["pad"] = "x" * command["pad"]
    try:
        stream = await client.round_robin(command["request"], annotated=False, context=context)
        async for item in stream:
            items.append(item)
            if len(items) == command.get("stop_after"):
                context.stop_generating()
            if len(items) == command.get("drop_after"):
                break
        del stream
        return {"items": items, "error": None}
    except Exception as error:  # whatever the runtime raises is the result
        return {"items": items, "error": f"{type(error).__name__}: {error}"}


@dynamo_worker()
async def main(runtime: DistributedRuntime):
    client = await runtime.endpoint(sys.argv[1]).client()
    await client.wait_for_instances()
    for text in sys.argv[2:]:
        command = json.loads(text)
        times = command.get("times", 1)
        results = await asyncio.gather(*(call(client, command) for _ in range(times)))
        for _ in range(50):
            if not any(text in (results[0]["error"] or "") for text in NOT_ROUTED_YET):
                break
            await asyncio.sleep(0.1)
            results = await asyncio.gather(*(call(client, command) for _ in range(times)))
        result = results[0]
        if times > 1:
            errors = [one["error"] for one in results if one["error"]]
            result = {"items": [sum(len(one["items"]) for one in results)], "error": errors[0] if errors else None}
        if "pad" in command:
            result["items"] = [len(json.dumps(result["items"]))]
        print(json.dumps(result), flush=True)


asyncio.run(main())
