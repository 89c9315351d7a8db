"""A chat without a queue of its own: many of these processes behind nginx share the pool's. See README.md.

    python without_queue.py PORT
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPException, HTTPResponse
from urllib.parse import quote

from flask import Flask, Response, request
from werkzeug.exceptions import ServiceUnavailable

from browser import prepare, serve
from upstream import Unavailable, Upstream

# What the pool is told of a request, beside the body. The last three are nginx's: where it comes from, whether by HTTPS,
# and whom nginx has authenticated.
PASSED_ON = (
    *("Content-Type", "Cookie", "Accept-Language", "Last-Event-ID"),
    *("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-User"),
)
# What of the answer's head is between two servers only.
KEPT_BACK = ("connection", "keep-alive", "transfer-encoding", "upgrade", "date", "server")

app = Flask(__name__)
prepare(app)


@app.get("/chat")
@app.route("/chat/<path:_>", methods=["GET", "POST", "DELETE"])
def relay(_: str = "") -> Response:
    """Asks the pool at once, so that the order of arrival is the pool's order, and passes on what it says unchanged."""
    endpoint = os.environ.get("OLLAMA_POOL_URL", "http://127.0.0.1:11434")
    path = f"{quote(request.path)}?{request.query_string.decode('latin-1')}".rstrip("?")
    headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    try:
        upstream = Upstream(endpoint, request.method, path, request.get_data(), headers)
    except Unavailable as error:
        raise ServiceUnavailable(str(error), retry_after=2) from None
    answer = passed_on(upstream, request.environ.get("waitress.client_disconnected", lambda: False))
    head = next(answer, None)
    if not isinstance(head, HTTPResponse):
        raise ServiceUnavailable("The pool gave no answer.", retry_after=2)
    kept = [(name, value) for name, value in head.getheaders() if name.lower() not in KEPT_BACK]
    return Response(answer, head.status, kept)  # type: ignore[arg-type]


def passed_on(upstream: Upstream, has_left: Callable[[], bool]) -> Iterator[HTTPResponse | bytes]:
    """The head, then the lines, until the client leaves. One that was cut off sees no `done`, and may resume."""
    with closing(upstream):
        try:
            for part in upstream.parts():
                if has_left():
                    return
                if part is not None:
                    yield part
        except (OSError, HTTPException):
            return


if __name__ == "__main__":
    serve(app, f"127.0.0.1:{sys.argv[1]}")
