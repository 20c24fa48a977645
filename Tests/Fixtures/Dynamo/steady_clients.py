"""Keep-alive clients at a steady rate, until SIGTERM; then prints one JSON object with what became of their requests.

usage: steady_clients.py URL MODEL CLIENTS RATE [TOKENS]

The model echoes; with TOKENS it says what it likes, in so many tokens, and only the end of the answer is looked at.
Half of the clients are the OpenAI client library without retries, half write requests of their own on one connection each. Every other
request streams. A request is good when its whole text came back; a stream only when it also ended with the end that the API has.
"""

import http.client
import json
import signal
import sys
import threading
import time
import urllib.parse

import httpx
import openai

URL, MODEL, CLIENTS, RATE = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
TOKENS = int(sys.argv[5]) if len(sys.argv) > 5 else None
WORDS = " ".join(f"w{number}" for number in range(12))
finished = threading.Event()
lock = threading.Lock()
totals = {"requests": 0, "streams": 0, "connections": 0, "failures": []}


def check(text, reason, what):
    if reason is None:
        raise ValueError(f"{what} without a finish reason")
    if not TOKENS and text.strip() != WORDS:
        raise ValueError(f"{what}: truncated or mixed up: {text!r}")


class Library:
    def __init__(self):
        self.client = openai.OpenAI(
            base_url=f"{URL}/v1", api_key="none", max_retries=0, timeout=60,
            http_client=httpx.Client(limits=httpx.Limits(max_connections=1, keepalive_expiry=None)),
        )

    def ask(self, stream):
        answer = self.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": WORDS}], max_tokens=TOKENS or 64, stream=stream
        )
        if not stream:
            choice = answer.choices[0]
            return check(choice.message.content, choice.finish_reason, "answer")
        parts, reason = [], None
        for chunk in answer:
            for choice in chunk.choices:
                parts.append(choice.delta.content or "")
                reason = choice.finish_reason or reason
        check("".join(parts), reason, "stream")


class Plain:
    def __init__(self):
        self.address = urllib.parse.urlsplit(URL).netloc
        self.connection = None

    def ask(self, stream):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.address, timeout=60)
            with lock:
                totals["connections"] += 1
        body = {"model": MODEL, "messages": [{"role": "user", "content": WORDS}], "max_tokens": TOKENS or 64, "stream": stream}
        try:
            self.connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
            answer = self.connection.getresponse()
            text = answer.read().decode()
        except Exception:
            self.connection.close()
            self.connection = None
            raise
        if answer.status != 200:
            raise ValueError(f"{answer.status}: {text[:300]}")
        if not stream:
            choice = json.loads(text)["choices"][0]
            return check(choice["message"]["content"], choice["finish_reason"], "answer")
        events = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
        if not events or events[-1] != "[DONE]":
            raise ValueError(f"stream without its end: {events[-1:]}")
        choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
        reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
        check("".join(choice["delta"].get("content") or "" for choice in choices), reasons[-1] if reasons else None, "stream")


def run(number):
    client = Library() if number % 2 else Plain()
    next_time = time.monotonic() + number / CLIENTS / RATE
    turn = number // 2
    while not finished.wait(max(0.0, next_time - time.monotonic())):
        next_time = max(next_time + 1 / RATE, time.monotonic())
        turn += 1
        stream = turn % 2 == 0
        try:
            client.ask(stream)
            failure = None
        except Exception as error:  # Whatever it is, the request failed.
            failure = f"{type(client).__name__} {'stream' if stream else 'request'}: {type(error).__name__}: {error}"
        with lock:
            totals["requests"] += 1
            totals["streams"] += stream
            if failure:
                totals["failures"].append(failure)


signal.signal(signal.SIGTERM, lambda *_: finished.set())
threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
for thread in threads:
    thread.start()
print("started", flush=True)
finished.wait()
for thread in threads:
    thread.join()
totals["failures"] = totals["failures"][:20]
print(json.dumps(totals), flush=True)
