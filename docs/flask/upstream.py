"""The pool's HTTP endpoint: an answer as it grows."""

import json
import os
import socket
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

CONNECT_SECONDS = 5.0
LOOK_SECONDS = 0.5  # how long a client's leaving may go unnoticed


class Failed(Exception):
    """There will be no answer, or no more of it. `code` is for programs."""

    def __init__(self, message: str, code: str = "answer_failed") -> None:
        super().__init__(message)
        self.code = code


class Unavailable(Failed):
    """No answer was begun, for no fault of the question's: it may be asked again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "pool_unavailable")


class Upstream:
    """A request whose answer a thread of its own reads, so that whoever waits can look after the client meanwhile."""

    def __init__(self, endpoint: str, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        """Raises Unavailable where nobody listens."""
        url = urlsplit(endpoint)
        self._connection = HTTPConnection(url.hostname or "", url.port, timeout=CONNECT_SECONDS)
        try:
            self._connection.connect()
        except OSError as error:
            raise Unavailable(f"{endpoint} can't be reached: {error}") from error
        self._socket: socket.socket = self._connection.sock
        self._socket.settimeout(None)  # a request may wait for hours
        self._parts: SimpleQueue[HTTPResponse | bytes | Exception] = SimpleQueue()
        headers = dict(headers)
        if key := os.environ.get("OLLAMA_POOL_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        threading.Thread(target=self._read, args=(method, path, body, headers), daemon=True).start()

    def _read(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        with closing(self._connection):
            try:
                self._connection.request(method, path, body, headers)
                response = self._connection.getresponse()
                self._parts.put(response)
                for line in response:
                    self._parts.put(line)
                self._parts.put(b"")
            except (OSError, HTTPException) as error:
                self._parts.put(error)

    def parts(self) -> Iterator[HTTPResponse | bytes | None]:
        """The head, then each line; None whenever nothing has come for LOOK_SECONDS. Raises OSError, HTTPException."""
        while True:
            try:
                part = self._parts.get(timeout=LOOK_SECONDS)
            except Empty:
                yield None
                continue
            if isinstance(part, Exception):
                raise part
            if part == b"":
                return
            yield part

    def close(self) -> None:
        """Also in mid-answer: the pool then stops working on it."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def ask(endpoint: str, model: str, messages: list[dict[str, str]]) -> Generator[str | None, None, None]:
    """The answer's tokens; None from time to time while none comes. Raises Failed, Unavailable."""
    body = json.dumps({"model": model, "messages": messages}).encode()
    with closing(Upstream(endpoint, "POST", "/api/chat", body, {"Content-Type": "application/json"})) as upstream:
        status, has_begun = 0, False
        try:
            for part in upstream.parts():
                if isinstance(part, HTTPResponse):
                    status = part.status
                elif part is None:
                    yield None
                else:
                    line = json.loads(part)
                    if status == 503:
                        raise Unavailable(line["error"])
                    if "error" in line:
                        raise Failed(line["error"], "model_not_found" if status == 404 else "answer_failed")
                    has_begun = True
                    yield line["message"]["content"] or None
                    if line["done"]:
                        return
        except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
            raise (Failed if has_begun else Unavailable)(f"the pool's answer broke off: {error}") from error
        raise Failed("the pool's answer broke off") if has_begun else Unavailable("the pool gave no answer")
