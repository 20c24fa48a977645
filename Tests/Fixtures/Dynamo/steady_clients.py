"""Keep-alive clients at a steady rate, until SIGTERM; then prints one JSON object with what became of their requests.

usage: steady_clients.py URL MODEL [--clients N] [--rate PER_SECOND] [--library N] [--length N] [--stream-length N] [--generates] [--no-ids]

The rate is that of each client. The model echoes, so that every request has words of its own; with --generates it says what it likes, in
as many tokens as it is asked for, and those are counted. Half of the clients, or N, are the OpenAI client library without retries, the
others write requests of their own on one connection each. Every other request streams. A request is good when its whole text came back,
and no other one; a stream only when it also ended with the end that the API has. With --no-ids nothing is said of the request's
identifier in the answer, which only the launcher's gateway gives back.

SIGUSR1 begins a new phase: what became of the requests, and how long they took, is told for each phase by itself. A request belongs to
the phase in which it was begun. Each hundredth one that ends is said ("phase 2: 300").
"""

import argparse
import http.client
import json
import signal
import threading
import time
import urllib.parse

import httpx
import openai

parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("model")
parser.add_argument("--clients", type=int, default=32)
parser.add_argument("--rate", type=float, default=2.0)
parser.add_argument("--library", type=int)
parser.add_argument("--length", type=int, default=12)
parser.add_argument("--stream-length", type=int)
parser.add_argument("--generates", action="store_true")
parser.add_argument("--no-ids", action="store_true")
options = parser.parse_args()
LIBRARY = options.clients // 2 if options.library is None else options.library

WORDS = [f"w{number}" for number in range(max(options.length, options.stream_length or 0))]
finished = threading.Event()
lock = threading.Lock()
totals = {"requests": 0, "streams": 0, "connections": 0, "failures": []}


class Phase:
    def __init__(self):
        self.began = time.monotonic()
        self.times = {False: [], True: []}

    def figures(self, end):
        both = self.times[False] + self.times[True]
        return {
            "requests": len(both), "streams": len(self.times[True]), "seconds": end - self.began,
            "median": part(both, 0.5), "p99": part(both, 0.99), "longest": part(both, 1), "streamMedian": part(self.times[True], 0.5),
            "times": both,
        }


def part(times, share):
    return sorted(times)[max(0, -int(-len(times) * share // 1) - 1)] if times else 0


phases = [Phase()]


class Question:
    """One request, and what its answer must be."""

    def __init__(self, client, turn, stream):
        self.stream = stream
        self.id = f"client-{client}-{turn}"
        self.length = (options.stream_length if stream else None) or options.length
        self.words = " ".join([self.id] + WORDS[1 : self.length])
        self.body = {
            "model": options.model, "messages": [{"role": "user", "content": self.words}],
            "max_tokens": self.length if options.generates else 2 * self.length, "stream": stream,
        }
        if stream and options.generates:
            self.body["stream_options"] = {"include_usage": True}

    def check(self, text, reason, tokens):
        what = "stream" if self.stream else "answer"
        if reason is None:
            raise ValueError(f"{what} without a finish reason")
        if options.generates and tokens != self.length:
            raise ValueError(f"{what} of {tokens} tokens, not {self.length}")
        if not options.generates and text.strip() != self.words:
            raise ValueError(f"{what}: truncated or mixed up: {text!r} for {self.words!r}")


class Library:
    def __init__(self):
        self.client = openai.OpenAI(
            base_url=f"{options.url}/v1", api_key="none", max_retries=0, timeout=60,
            http_client=httpx.Client(limits=httpx.Limits(max_connections=1, keepalive_expiry=None)),
        )

    def ask(self, question):
        answer = self.client.chat.completions.create(**question.body)
        if not question.stream:
            choice = answer.choices[0]
            return question.check(choice.message.content, choice.finish_reason, answer.usage and answer.usage.completion_tokens)
        parts, reason, tokens = [], None, None
        for chunk in answer:
            tokens = chunk.usage.completion_tokens if chunk.usage else tokens
            for choice in chunk.choices:
                parts.append(choice.delta.content or "")
                reason = choice.finish_reason or reason
        question.check("".join(parts), reason, tokens)


class Plain:
    def __init__(self):
        self.address = urllib.parse.urlsplit(options.url).netloc
        self.connection = None

    def ask(self, question):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.address, timeout=60)
            with lock:
                totals["connections"] += 1
        headers = {"content-type": "application/json", "x-request-id": question.id}
        try:
            self.connection.request("POST", "/v1/chat/completions", json.dumps(question.body), headers)
            answer = self.connection.getresponse()
            text = answer.read().decode()
        except Exception:
            self.connection.close()
            self.connection = None
            raise
        if answer.status != 200:
            raise ValueError(f"{answer.status}: {text[:300]}")
        if not options.no_ids and answer.headers["x-request-id"] != question.id:
            raise ValueError(f"{question.id} was answered as {answer.headers['x-request-id']}")
        if not question.stream:
            whole = json.loads(text)
            choice = whole["choices"][0]
            tokens = (whole.get("usage") or {}).get("completion_tokens")
            return question.check(choice["message"]["content"], choice["finish_reason"], tokens)
        events = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
        if not events or events[-1] != "[DONE]":
            raise ValueError(f"stream without its end: {events[-1:]}")
        chunks = [json.loads(event) for event in events[:-1]]
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
        tokens = [chunk["usage"]["completion_tokens"] for chunk in chunks if chunk.get("usage")]
        question.check(
            "".join(choice["delta"].get("content") or "" for choice in choices),
            reasons[-1] if reasons else None, tokens[-1] if tokens else None,
        )


def run(number):
    client = Library() if number < LIBRARY else Plain()
    next_time = time.monotonic() + number / options.clients / options.rate
    turn = number
    while not finished.wait(max(0.0, next_time - time.monotonic())):
        next_time = max(next_time + 1 / options.rate, time.monotonic())
        turn += 1
        question = Question(number, turn, turn % 2 == 0)
        phase = phases[-1]
        began = time.monotonic()
        try:
            client.ask(question)
            failure = None
        except Exception as error:  # Whatever it is, the request failed.
            failure = f"{question.id}, {type(client).__name__} {'stream' if question.stream else 'request'}: {type(error).__name__}: {error}"
        took = time.monotonic() - began
        with lock:
            totals["requests"] += 1
            totals["streams"] += question.stream
            phase.times[question.stream].append(took)
            count = len(phase.times[False]) + len(phase.times[True])
            if count % 100 == 0:
                print(f"phase {phases.index(phase) + 1}: {count}", flush=True)
            if failure:
                totals["failures"].append(failure)


def load_library():
    """Has the library make its types, which it does when they are first used, and not safely in several threads at once."""
    choice = {"index": 0, "finish_reason": "stop"}
    head = {"id": "x", "created": 1, "model": "x"}
    chunk = {**head, "object": "chat.completion.chunk", "choices": [{**choice, "delta": {"content": "x"}}]}
    whole = {**head, "object": "chat.completion", "choices": [{**choice, "message": {"role": "assistant", "content": "x"}}]}

    def answer(request):
        if not json.loads(request.content)["stream"]:
            return httpx.Response(200, json=whole)
        text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, text=text)

    client = openai.OpenAI(
        base_url=f"{options.url}/v1", api_key="none", http_client=httpx.Client(transport=httpx.MockTransport(answer))
    )
    messages = [{"role": "user", "content": "x"}]
    client.chat.completions.create(model="x", messages=messages, stream=False)
    list(client.chat.completions.create(model="x", messages=messages, stream=True))


load_library()
signal.signal(signal.SIGTERM, lambda *_: finished.set())
signal.signal(signal.SIGUSR1, lambda *_: phases.append(Phase()))
threads = [threading.Thread(target=run, args=(number,)) for number in range(options.clients)]
for thread in threads:
    thread.start()
print("started", flush=True)
finished.wait()
for thread in threads:
    thread.join()
totals["failures"] = totals["failures"][:20]
ends = [phase.began for phase in phases[1:]] + [time.monotonic()]
totals["phases"] = [phase.figures(end) for phase, end in zip(phases, ends)]
print(json.dumps(totals), flush=True)
