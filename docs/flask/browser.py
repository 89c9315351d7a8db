"""What both applications have in common: a question, Server-Sent Events, errors as JSON, the server."""

import json
import logging
import time
from collections.abc import Generator
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

import waitress
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, RequestEntityTooLarge

from upstream import Failed

DEFAULT_MODEL = "llama3.2"
LONGEST_MESSAGE = 16_000  # characters
LARGEST_BODY = 256 * 1024  # bytes
HEARTBEAT_SECONDS = 14.0  # so that there is one at least every 15 s
THREADS = 200  # each request occupies one, also while it waits

Event = dict[str, Any]
Events = Generator[Event | None, None, None]


def prepare(app: Flask) -> None:
    # Here, and not when it is served: threads that have something to tell begin before that.
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"

    @app.before_request
    def refuse_other_sites() -> None:
        if urlsplit(request.headers.get("Origin", "")).netloc not in ("", request.host):
            raise Forbidden("A page of another site may not ask.")

    @app.errorhandler(HTTPException)
    def explain(error: HTTPException) -> Response:
        answer = jsonify(error=error.description, code=error.name.lower().replace(" ", "_"))
        answer.headers.extend({name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")})
        answer.status_code = error.code or 500
        return answer


def read_question(default_model: str) -> tuple[str, str]:
    """The message and the model, or the right error."""
    try:
        question = json.loads(request.get_data())
    except (ValueError, RecursionError):
        raise BadRequest('The body is no JSON. It should be {"message": "…"}.') from None
    if not isinstance(question, dict):
        raise BadRequest('The body should be a JSON object: {"message": "…"}.')
    message, model = question.get("message"), question.get("model", default_model)
    if not isinstance(message, str) or not message.strip():
        raise BadRequest('"message" should be a text that is not empty.')
    if len(message) > LONGEST_MESSAGE:
        raise RequestEntityTooLarge(f'"message" has {len(message)} characters; at most {LONGEST_MESSAGE} are taken.')
    if not isinstance(model, str) or not 0 < len(model) <= 200:
        raise BadRequest('"model" should be the name of a model.')
    try:
        (message + model).encode()
    except UnicodeEncodeError:
        raise BadRequest("Half of a surrogate pair is no character.") from None
    return message, model


def failure(request_id: str, error: Failed) -> Event:
    return {"type": "error", "error": str(error), "code": error.code, "request_id": request_id}


def done(request_id: str) -> Event:
    return {"type": "done", "timestamp": datetime.now(timezone.utc).isoformat(), "request_id": request_id}


def event_stream(events: Events, request_id: str) -> Response:
    """An answer of events. Those that are None only give the chance to see that the client has left; `events` is
    closed then."""
    has_left = request.environ.get("waitress.client_disconnected", lambda: False)

    def body() -> Generator[str, None, None]:
        last = time.monotonic()
        for event in events:
            if has_left():
                return
            if event is not None:
                yield f"data: {json.dumps(event, separators=(',', ':'))}\n\n"
            elif time.monotonic() - last >= HEARTBEAT_SECONDS:
                yield ": still there\n\n"
            else:
                continue
            last = time.monotonic()

    response = Response(body(), mimetype="text/event-stream")
    response.headers.update(
        {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Request-Id": request_id})
    response.call_on_close(events.close)
    return response


def serve(app: Flask, listen: str) -> None:
    """Until Ctrl-C. waitress tells when a client has left, also one that waits: for that it has to look ahead."""
    waitress.serve(
        app, listen=listen, threads=THREADS, connection_limit=2_000, channel_request_lookahead=1,
        asyncore_use_poll=True, max_request_body_size=16 << 20)
