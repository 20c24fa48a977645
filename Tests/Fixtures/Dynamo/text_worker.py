"""A Dynamo worker that takes un-tokenized requests and echoes the last user message, word by word.

Runs on the real Python runtime of Dynamo. Each event of a request is one line of JSON on standard output, so that a test can
see what the worker saw: `ready`, `request` (with the request itself), `finished`, `cancelled`.
"""

import argparse
import asyncio
import json
import os
import signal
import time

import uvloop
from dynamo import llm
from dynamo.llm import ModelInput, ModelType, register_model
from dynamo.runtime import DistributedRuntime


def log(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def text_of(request):
    if "prompt" in request:
        return request["prompt"] if isinstance(request["prompt"], str) else request["prompt"][0]
    content = [m["content"] for m in request["messages"] if m["role"] == "user"][-1]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


class Worker:
    def __init__(self, args):
        self.args = args

    async def chat(self, request, context):
        async for piece, reason, usage in self.generate(request, context):
            chunk = self.chunk(context, "chat.completion.chunk")
            if usage:
                chunk["choices"] = []
                chunk["usage"] = usage
            else:
                delta = {"role": "assistant", "content": piece} if reason is None else {}
                chunk["choices"] = [{"index": 0, "delta": delta, "finish_reason": reason}]
            yield chunk

    async def completions(self, request, context):
        async for piece, reason, usage in self.generate(request, context):
            chunk = self.chunk(context, "text_completion")
            if usage:
                chunk["choices"] = []
                chunk["usage"] = usage
            else:
                chunk["choices"] = [{"index": 0, "text": piece, "finish_reason": reason}]
            yield chunk

    def chunk(self, context, kind):
        return {"id": "py-" + context.id(), "object": kind, "created": int(time.time()), "model": self.args.model_name}

    async def generate(self, request, context):
        log("request", id=context.id(), request=request)
        text = text_of(request)
        if text == "raise":
            raise ValueError("the worker was asked to fail")
        words = [word + " " for word in text.split()]
        limit = request.get("max_completion_tokens") or request.get("max_tokens") or len(words)
        sent = 0
        try:
            for word in words[:limit]:
                if context.is_stopped() or context.is_killed():
                    log("cancelled", id=context.id(), sent=sent, killed=context.is_killed())
                    return
                yield word, None, None
                sent += 1
                if text.startswith("fail-after-one"):
                    raise RuntimeError("the worker was asked to fail later")
                await asyncio.sleep(self.args.delay)
        except (asyncio.CancelledError, GeneratorExit):
            log("cancelled", id=context.id(), sent=sent, killed=context.is_killed())
            raise
        yield "", "stop" if limit >= len(words) else "length", None
        usage = {"prompt_tokens": len(words), "completion_tokens": sent, "total_tokens": len(words) + sent}
        yield "", None, usage
        log("finished", id=context.id(), sent=sent)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-name", default="py-text")
    parser.add_argument("--model-path", required=True, help="any folder with the files of a model")
    parser.add_argument("--endpoint", default="dynamo.backend.generate")
    parser.add_argument("--type", default="Chat", choices=["Chat", "Completions", "Both"])
    parser.add_argument("--delay", type=float, default=0.01, help="seconds between two words")
    args = parser.parse_args()

    loop = asyncio.get_running_loop()
    runtime = DistributedRuntime(
        loop, os.environ.get("DYN_DISCOVERY_BACKEND", "file"), os.environ.get("DYN_REQUEST_PLANE", "tcp")
    )
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, runtime.shutdown)
    worker = Worker(args)
    endpoint = runtime.endpoint(args.endpoint)
    kinds = {"Chat": ModelType.Chat, "Completions": ModelType.Completions, "Both": ModelType.Chat | ModelType.Completions}
    # Releases after 1.2 want to know what part of the work this is.
    part = {"worker_type": llm.WorkerType.Aggregated} if hasattr(llm, "WorkerType") else {}
    await register_model(ModelInput.Text, kinds[args.type], endpoint, args.model_path, args.model_name, **part)
    log("ready")
    handler = worker.completions if args.type == "Completions" else worker.chat
    await endpoint.serve_endpoint(handler)


if __name__ == "__main__":
    uvloop.run(main())
