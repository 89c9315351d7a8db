"""The pool as the clients see it that others wrote: the PyPI packages `ollama` and `openai`.

    official_clients.py ollama|openai PORT STATUS-COMMAND...

STATUS-COMMAND prints `ollama-pool status --json`. The pool serves one request at a time; its instances are simulators
that answer with eight tokens where nothing else is asked for. Ends with a traceback at the first surprise.
"""

import json
import subprocess
import sys
import time

HELLO = [{"role": "user", "content": "hello"}]
CALL_THE_TOOL = [{"role": "user", "content": "call the tool"}]


def wait_until(expectation, condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {expectation}"
        time.sleep(0.02)


def in_flight_and_waiting():
    status = json.loads(subprocess.run(STATUS, check=True, stdout=subprocess.PIPE).stdout)
    return status["inFlight"], status["queueDepth"]


def expect_error(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def check_cancelling(begin_stream, ask):
    """A stream of half an hour is broken off: its slot must serve the next request at once."""
    stream = begin_stream(100_000)
    next(stream)
    wait_until("the stream holds a slot", lambda: in_flight_and_waiting() == (1, 0))
    stream.close()
    wait_until("nothing is in flight", lambda: in_flight_and_waiting() == (0, 0), seconds=3)
    ask()


def check_ollama(port):
    from ollama import Client, ResponseError

    client = Client(host=f"http://127.0.0.1:{port}")

    names = {model.model for model in client.list().models}
    assert names == {"llama3.2:latest", "qwen3:0.6b", "nomic-embed-text:latest"}, names
    shown = client.show("llama3.2")
    assert "completion" in shown.capabilities and shown.modelinfo["general.architecture"] == "llama"

    whole = client.chat("llama3.2", HELLO)
    assert whole.done and whole.done_reason == "stop" and len(whole.message.content.split()) == 8, whole
    parts = list(client.chat("llama3.2", HELLO, stream=True))
    assert [part.done for part in parts] == [False] * 8 + [True]
    assert "".join(part.message.content for part in parts) == whole.message.content
    assert parts[-1].eval_count == 8 and parts[-1].done_reason == "stop"

    text = client.generate("llama3.2", "hello", options={"num_predict": 3})
    assert text.done_reason == "length" and len(text.response.split()) == 3
    pieces = list(client.generate("llama3.2", "hello", stream=True, options={"num_predict": 3}))
    assert "".join(piece.response for piece in pieces) == text.response and pieces[-1].done

    running = client.ps().models
    assert [model.model for model in running] == ["llama3.2:latest"], running
    assert running[0].size_vram == running[0].size > 0 and running[0].expires_at.year > 2000

    embedded = client.embed("nomic-embed-text", ["a", "b"]).embeddings
    assert len(embedded) == 2 and len(embedded[0]) == 768
    assert list(client.embeddings("nomic-embed-text", "a").embedding) == list(embedded[0])
    assert {model.model for model in client.ps().models} == {"llama3.2:latest", "nomic-embed-text:latest"}

    def weather(city: str, days: int) -> str:
        """Tells the weather."""

    for answer in (
        client.chat("llama3.2", CALL_THE_TOOL, tools=[weather]),
        next(iter(client.chat("llama3.2", CALL_THE_TOOL, tools=[weather], stream=True))),
    ):
        call = answer.message.tool_calls[0].function
        assert call.name == "weather" and call.arguments == {"city": "simulated", "days": 1}, call

    for call in (
        lambda: client.chat("nope", HELLO),
        lambda: list(client.chat("nope", HELLO, stream=True)),
        lambda: client.generate("nope", "hello"),
        lambda: client.embed("nope", "a"),
        lambda: client.show("nope"),
        lambda: client.delete("nope"),
    ):
        error = expect_error(ResponseError, call)
        assert error.status_code == 404 and "not found" in error.error, error
    refused = expect_error(ResponseError, lambda: client.generate("nomic-embed-text", "hello"))
    assert refused.status_code == 400 and "does not support generate" in refused.error, refused

    steps = [step.status for step in client.pull("mistral", stream=True)]
    assert steps[0] == "pulling manifest" and steps[-1] == "success", steps
    assert client.pull("mistral").status == "success"
    unknown = expect_error(ResponseError, lambda: client.pull("does-not-exist"))
    assert "file does not exist" in unknown.error, unknown
    assert client.copy("mistral", "mine").status == "success"
    assert client.create("pirate", from_="llama3.2", system="Arr").status == "success"
    assert client.push("mine").status == "success"
    assert client.create_blob(__file__).startswith("sha256:")
    assert {"mistral:latest", "mine:latest", "pirate:latest"} < {model.model for model in client.list().models}
    assert len(client.generate("mine", "hello").response.split()) == 8
    for name in ("mistral", "mine", "pirate"):
        assert client.delete(name).status == "success"
    assert {model.model for model in client.list().models} == names

    check_cancelling(
        lambda tokens: client.generate("llama3.2", "hello", stream=True, options={"num_predict": tokens}),
        lambda: client.generate("llama3.2", "hello"))


def check_openai(port):
    import openai

    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)

    assert {model.id for model in client.models.list()} == {
        "llama3.2:latest", "qwen3:0.6b", "nomic-embed-text:latest"}
    assert client.models.retrieve("llama3.2").owned_by == "library"

    def chat(**more):
        return client.chat.completions.create(**{"model": "llama3.2", "messages": HELLO, **more})

    whole = chat()
    assert whole.choices[0].finish_reason == "stop" and len(whole.choices[0].message.content.split()) == 8
    assert whole.usage.completion_tokens == 8
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + 8
    parts = list(chat(stream=True, stream_options={"include_usage": True}))
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == whole.choices[0].message.content, text
    assert parts[-1].usage.completion_tokens == 8 and not parts[-1].choices
    assert parts[-2].choices[0].finish_reason == "stop"
    assert all(part.usage is None for part in chat(stream=True))
    short = chat(max_tokens=2)
    assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 2

    tools = [{"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}}}}]
    called = chat(messages=CALL_THE_TOOL, tools=tools).choices[0]
    assert called.finish_reason == "tool_calls"
    assert json.loads(called.message.tool_calls[0].function.arguments) == {"city": "simulated"}
    deltas = list(chat(messages=CALL_THE_TOOL, tools=tools, stream=True))
    assert deltas[0].choices[0].delta.tool_calls[0].function.name == "weather"
    assert deltas[-1].choices[0].finish_reason == "tool_calls"

    assert len(client.completions.create(model="llama3.2", prompt="x").choices[0].text.split()) == 8
    assert len(list(client.completions.create(model="llama3.2", prompt="x", stream=True))) == 9
    vectors = client.embeddings.create(model="nomic-embed-text", input=["a", "b"]).data
    assert len(vectors) == 2 and abs(sum(x * x for x in vectors[0].embedding) - 1) < 1e-3
    plain = client.embeddings.create(model="nomic-embed-text", input="a", encoding_format="float").data
    assert max(abs(a - b) for a, b in zip(plain[0].embedding, vectors[0].embedding)) < 1e-6
    assert len(client.responses.create(model="llama3.2", input="hello").output_text.split()) == 8

    def expect(kind, call, error_type, part):
        error = expect_error(kind, call)
        assert error.body["type"] == error_type and part in error.body["message"], error.body
        return error

    expect(openai.NotFoundError, lambda: chat(model="nope"), "not_found_error", "not found")
    expect(openai.NotFoundError, lambda: list(chat(model="nope", stream=True)), "not_found_error", "not found")
    expect(openai.BadRequestError, lambda: chat(messages=[]), "invalid_request_error", "messages")
    # These two are the pool's own.
    missing = expect(
        openai.NotFoundError, lambda: client.get("/nope", cast_to=object), "not_found_error", "/v1/nope")
    assert missing.body["code"] == "not_found", missing.body
    wrong = expect(
        openai.APIStatusError, lambda: client.get("/chat/completions", cast_to=object), "invalid_request_error", "POST")
    assert wrong.status_code == 405 and wrong.response.headers["allow"] == "POST", wrong

    check_cancelling(lambda tokens: ClosingStream(chat(stream=True, max_tokens=tokens)), chat)


class ClosingStream:
    """An iterator with `close`, as generators have it."""

    def __init__(self, stream):
        self.stream = stream

    def __next__(self):
        return next(self.stream)

    def close(self):
        self.stream.close()


if __name__ == "__main__":
    STATUS = sys.argv[3:]
    {"ollama": check_ollama, "openai": check_openai}[sys.argv[1]](int(sys.argv[2]))
