"""python -m unittest: what passes between a client and the pool."""

import os
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch

from without_queue import app


class RelayTests(unittest.TestCase):
    asked: BaseHTTPRequestHandler
    body: bytes

    def setUp(self) -> None:
        test = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                test.asked = self
                test.body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(429)
                self.send_header("Retry-After", "7")
                self.send_header("Set-Cookie", "pool_session=new; Secure")
                self.end_headers()
                self.wfile.write(b'{"error": "later"}')

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        environment = patch.dict(os.environ, OLLAMA_POOL_URL=f"http://127.0.0.1:{server.server_port}")
        environment.start()
        self.addCleanup(environment.stop)

    def test_the_pool_hears_who_asks_and_from_where(self) -> None:
        said = {
            "Content-Type": "application/json",
            "Cookie": "pool_session=old",
            "Accept-Language": "it",
            "X-Forwarded-For": "198.51.100.9, 192.0.2.7",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-User": "ann",
        }
        answer = app.test_client(use_cookies=False).post("/chat/stream?a=b", data=b"{}", headers={**said, "X-Other": "1"})
        self.assertEqual((self.asked.path, self.body), ("/chat/stream?a=b", b"{}"))
        self.assertEqual({name: self.asked.headers[name] for name in said}, said)
        self.assertIsNone(self.asked.headers["X-Other"])
        self.assertEqual((answer.status_code, answer.data), (429, b'{"error": "later"}'))
        self.assertEqual(answer.headers["Retry-After"], "7")
        self.assertEqual(answer.headers["Set-Cookie"], "pool_session=new; Secure")


if __name__ == "__main__":
    unittest.main()
