"""A worker that takes token ids: writes down what it is sent, and answers with tokens that were given to it.

usage: token_worker.py MODEL_FOLDER LOG [COMPONENT]

TOKEN_WORKER_IDS has the ids of its answers, with commas.
"""

import asyncio
import json
import os
import sys

from dynamo.llm import ModelInput, ModelType, register_llm
from dynamo.runtime import DistributedRuntime, dynamo_worker

IDS = [int(text) for text in os.environ.get("TOKEN_WORKER_IDS", "40,41,42,43,44,45,46,47").split(",")]


@dynamo_worker()
async def main(runtime: DistributedRuntime) -> None:
    model, log = sys.argv[1], open(sys.argv[2], "a", buffering=1)
    endpoint = runtime.endpoint(f"dynamo.{sys.argv[3] if len(sys.argv) > 3 else 'backend'}.generate")
    kind = ModelType.Chat | ModelType.Completions
    await register_llm(ModelInput.Tokens, kind, endpoint, model, "tokens", kv_cache_block_size=16)

    async def generate(request, context):
        log.write(json.dumps(request) + "\n")
        count = request["stop_conditions"].get("max_tokens") or len(IDS)
        wants_logprobs = request["output_options"].get("logprobs") is not None
        for token in IDS[:count]:
            item = {"token_ids": [token]}
            if wants_logprobs:
                other = {"rank": 1, "token_id": token, "token": "x", "logprob": -0.5}
                item |= {"log_probs": [-0.5], "top_logprobs": [[other]]}
            yield item
        yield {"token_ids": [], "finish_reason": "length" if count <= len(IDS) else "stop"}

    await endpoint.serve_endpoint(generate)


asyncio.run(main())
