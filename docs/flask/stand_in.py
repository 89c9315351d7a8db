"""A stand-in for the pool, for the tests: it hears one request after the other, and answers each as it is told to."""

import threading
import unittest
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StandIn:
    """Serves until the test ends. `request` and `body` are what was asked last."""

    request: BaseHTTPRequestHandler
    body: bytes

    def __init__(self, test: unittest.TestCase, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                stand_in.request, stand_in.body = self, self.rfile.read(int(self.headers["Content-Length"]))
                answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        test.addCleanup(server.server_close)
        test.addCleanup(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_port}"
