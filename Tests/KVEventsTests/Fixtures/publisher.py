"""Publishes changes with Dynamo's own publisher: ENDPOINT BLOCK_SIZE CHANGES [durable]."""
import asyncio
import json
import sys

from dynamo.llm import KvEventPublisher
from dynamo.runtime import DistributedRuntime


async def main():
    runtime = DistributedRuntime(asyncio.get_running_loop(), "file", "tcp")
    endpoint = runtime.endpoint(sys.argv[1])
    size = int(sys.argv[2])
    durable = sys.argv[4:] == ["durable"]
    publisher = KvEventPublisher(endpoint, kv_block_size=size, enable_local_indexer=not durable)
    print("ready", flush=True)
    await asyncio.sleep(0.5)
    for change in json.loads(sys.argv[3]):
        if "stored" in change:
            stored = change["stored"]
            blocks = len(stored["blocks"])
            publisher.publish_stored(stored["tokens"], [size] * blocks, stored["blocks"], stored["parent"])
        else:
            publisher.publish_removed(change["removed"])
        # So that each becomes a message of its own.
        await asyncio.sleep(0.1)
    print("done", flush=True)
    await asyncio.sleep(3600)


asyncio.run(main())
