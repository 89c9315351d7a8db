"""A chat without a queue of its own: many of these processes behind nginx share the pool's. See README.md.

    python without_queue.py PORT
"""

import os
import sys
import uuid
from contextlib import closing

from flask import Flask, Response, request

from browser import DEFAULT_MODEL, Events, done, event_stream, failure, prepare, read_question, serve
from upstream import Failed, ask

app = Flask(__name__)
prepare(app)


@app.post("/chat/stream")
def chat_stream() -> Response:
    question, model = read_question(os.environ.get("CHAT_MODEL", DEFAULT_MODEL))
    request_id = uuid.uuid4().hex
    # Whom nginx has authenticated; the pool believes it where this address is one of its `trusted_proxies`.
    headers = {name: request.headers[name] for name in ["X-Forwarded-User"] if name in request.headers}
    return event_stream(answer(request_id, question, model, headers), request_id)


def answer(request_id: str, question: str, model: str, headers: dict[str, str]) -> Events:
    """Asks at once, so that the order of arrival is the pool's order, and passes on what comes."""
    endpoint = os.environ.get("OLLAMA_POOL_URL", "http://127.0.0.1:11434")
    try:
        with closing(ask(endpoint, model, [{"role": "user", "content": question}], headers)) as tokens:
            for token in tokens:
                yield {"type": "token", "token": token} if token else None
        yield done(request_id)
    except Failed as error:
        yield failure(request_id, error)


if __name__ == "__main__":
    serve(app, f"127.0.0.1:{sys.argv[1]}")
